// Integrals of Gaussian primitives along rays, closed form (Rochette et al. 2021, eq. 43-85), in a form that is stable.
//
// A limb is a Gaussian with centre m, unit axis u, standard deviation L along u and w across: Q = (I - u u')/w^2 + u u'/L^2.
// A pixel's ray is t p, p = (x, y, 1). The density along it peaks at t = r/q and integrates to
//   W = sqrt(pi alpha)/2 |p|/sqrt(q) exp(-D/alpha) / (1 + z^4),   q = p'Qp,  r = p'Qm,  z = |p| r/q (distance),
// D being the squared Mahalanobis distance of ray and centre. The textbook's D = m'Qm - r^2/q is a small difference of
// large numbers (it costs single precision up to 0.3 in alpha); by Lagrange's identity D = det(Q) c'Sc/q with c = p x m
// and the covariance S = Q^-1, a sum of squares, for limbs in front of the camera and behind it.
#pragma once
#include "common.h"

enum { GS_TILE = 16 };
static const float GS_SPREAD = 0.025f, GS_HALF = 0.140124788f;  // alpha, sqrt(pi alpha)/2

struct Limb {
  float centre[3], axis[3], length, width;
  float box[4];  // least x, greatest x, least y, greatest y where it may count
  float limit;   // greatest D that counts
};

struct GsSample {
  float weight, depth;  // W, and t
};

AC_HD float gs_dot(const float* a, const float* b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

AC_HD void gs_cross(const float* a, const float* b, float* out) {
  out[0] = a[1] * b[2] - a[2] * b[1], out[1] = a[2] * b[0] - a[0] * b[2], out[2] = a[0] * b[1] - a[1] * b[0];
}

AC_HD bool gs_in_box(const Limb& limb, float x, float y) {
  return x >= limb.box[0] && x <= limb.box[1] && y >= limb.box[2] && y <= limb.box[3];
}

// What forward and backward share.
struct GsTerms {
  float p[3], n[3], c[3], m[3];  // ray, p x u, p x centre, centre x u
  float a, b, h;                 // u.p, u.centre, u.c
  float iw, il, pp, q, r, s, k, distance, depth, z4, weight;
};

AC_HD void gs_terms(const Limb& limb, float x, float y, GsTerms& t) {
  t.p[0] = x, t.p[1] = y, t.p[2] = 1;
  gs_cross(t.p, limb.axis, t.n), gs_cross(limb.centre, limb.axis, t.m);
  gs_cross(t.p, limb.centre, t.c);
  t.h = gs_dot(limb.axis, t.c);
  t.a = gs_dot(limb.axis, t.p), t.b = gs_dot(limb.axis, limb.centre);
  float ww = limb.width * limb.width, ll = limb.length * limb.length;
  t.iw = 1 / ww, t.il = 1 / ll;
  t.pp = x * x + y * y + 1;
  t.q = gs_dot(t.n, t.n) * t.iw + t.a * t.a * t.il;
  t.r = gs_dot(t.n, t.m) * t.iw + t.a * t.b * t.il;
  t.s = ww * gs_dot(t.c, t.c) + (ll - ww) * t.h * t.h;
  t.k = t.iw * t.iw * t.il;
  t.distance = t.s * t.k / t.q;
  t.depth = t.r / t.q;
  float z2 = t.pp * t.depth * t.depth;
  t.z4 = z2 * z2;
  float weight = GS_HALF * __builtin_sqrtf(t.pp / t.q) * ac_exp(-t.distance / GS_SPREAD) / (1 + t.z4);
  t.weight = t.distance < limb.limit ? weight : 0;
}

AC_HD GsSample gs_sample(const Limb& limb, float x, float y) {
  GsTerms t;
  gs_terms(limb, x, y, t);
  return GsSample{t.weight, t.depth};
}

// Adds to grad[8] (centre, axis, length, width) what the gradients of log W and of t give.
AC_HD void gs_backward(const Limb& limb, const GsTerms& t, float gl, float grad_depth, float* grad) {
  float ww = limb.width * limb.width, ll = limb.length * limb.length;
  float gd = -gl / GS_SPREAD;         // of D
  float gt = grad_depth - gl * 4 * t.pp * t.pp * t.depth * t.depth * t.depth / (1 + t.z4);
  float gr = gt / t.q;
  float gs = gd * t.k / t.q;
  float gk = gd * t.s / t.q;
  float gq = -(0.5f * gl + gt * t.depth + gd * t.distance) / t.q;
  float ga = (2 * gq * t.a + gr * t.b) * t.il, gb = gr * t.a * t.il;
  float gn[3], gm[3], gc[3], v[3];
  for (int d = 0; d < 3; ++d) {
    gn[d] = (2 * gq * t.n[d] + gr * t.m[d]) * t.iw;
    gm[d] = gr * t.n[d] * t.iw;
    gc[d] = 2 * gs * (ww * t.c[d] + (ll - ww) * t.h * limb.axis[d]);
  }
  gs_cross(gc, t.p, v);
  for (int d = 0; d < 3; ++d) grad[d] += v[d] + gb * limb.axis[d];
  gs_cross(limb.axis, gm, v);
  for (int d = 0; d < 3; ++d) grad[d] += v[d];
  gs_cross(gn, t.p, v);
  for (int d = 0; d < 3; ++d) grad[3 + d] += v[d] + ga * t.p[d] + gb * limb.centre[d];
  gs_cross(gm, limb.centre, v);
  for (int d = 0; d < 3; ++d) grad[3 + d] += v[d] + 2 * gs * (ll - ww) * t.h * t.c[d];
  float across = gq * gs_dot(t.n, t.n) + gr * gs_dot(t.n, t.m), along = gq * t.a * t.a + gr * t.a * t.b;
  grad[6] += 2 * (gs * limb.length * t.h * t.h - (along * t.il + gk * t.k) / limb.length);
  grad[7] += 2 * (gs * limb.width * (gs_dot(t.c, t.c) - t.h * t.h) - (across * t.iw + 2 * gk * t.k) / limb.width);
}

// The gradient of the log of a limb's weight at a pixel, by that of the pixel's results. from_mean: its depth
// minus the pixel's.
AC_HD float gs_log_gradient(const float* feature, const float* image, const float* grad, i64 channels, i64 pixels,
                            i64 at, float weight, float total, float background, float grad_alpha, float grad_depth,
                            float from_mean) {
  float over = total + background, sum = 0;
  for (i64 c = 0; c < channels; ++c) sum += grad[c * pixels + at] * (feature[c] - image[c * pixels + at]);
  return (sum + grad_alpha * background / over) * (weight / over) + grad_depth * from_mean * (weight / total);
}
