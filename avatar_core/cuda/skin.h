// Linear blend skinning: x' = M (x + sum_f c_f d_f) with M = sum_k w_k A_j(k); rows of A are 16 floats (4x4), so that a
// matrix is a cache line. d are pose correctives. And its inverse, x = M^-1 x'. See skin.py for the definition and the
// gradients.
#pragma once
#include "common.h"

static const int SKIN_BLOCK = 32;              // vertices side by side
static const int SKIN_ENTRY = 3 * SKIN_BLOCK;  // numbers of one corrective in one block: x, then y, then z

// What is skinned: bodies of one mesh. Correctives are blocks of 32 vertices by features, without those that are zero:
// entries first[block] to first[block + 1] are values[entry][3][32] steps for feature features[entry].
struct Skin {
  const float* points;        // [vertices, 3], or [bodies, vertices, 3] if point_stride is not 0
  const float* weights;       // [vertices, influences]
  const i32* joints;          // [vertices, influences], or null: all joints in turn
  const float* transforms;    // [bodies, joint_count, 4, 4]
  const short* values;        // null without correctives
  const i32 *features, *first;
  const float* coefficients;  // [bodies, feature_count], a step's size included
  i64 bodies, vertices, point_stride, influences, joint_count, feature_count;
};

// matrix[16] = sum_k weights[k] transforms[joints ? joints[k] : k], four at a time.
AC_HD void skin_blend(const float* weights, const i32* joints, i32 count, const float* transforms, float* matrix) {
  for (int i = 0; i < 16; ++i) matrix[i] = 0;
  for (i32 k = 0; k < count; k += 4) {
    const float* one[4];
    float weight[4];
    for (int n = 0; n < 4; ++n) {
      i32 own = k + n < count ? k + n : k;
      one[n] = transforms + 16 * (i64)(joints ? joints[own] : own);
      weight[n] = k + n < count ? weights[own] : 0;
    }
    for (int i = 0; i < 16; ++i)
      matrix[i] += weight[0] * one[0][i] + weight[1] * one[1][i] + (weight[2] * one[2][i] + weight[3] * one[3][i]);
  }
}

// out = M x.
AC_HD void skin_point(const float* matrix, const float* x, float* out) {
  for (int r = 0; r < 3; ++r) {
    const float* row = matrix + 4 * r;
    out[r] = row[0] * x[0] + row[1] * x[1] + row[2] * x[2] + row[3];
  }
}

// Inverse of the 3x3 part by cofactors; returns the determinant, by which `inverse` is not yet divided.
AC_HD float skin_cofactors(const float* m, float* inverse) {
  float a = m[0], b = m[1], c = m[2], d = m[4], e = m[5], f = m[6], g = m[8], h = m[9], i = m[10];
  inverse[0] = e * i - f * h, inverse[1] = c * h - b * i, inverse[2] = b * f - c * e;
  inverse[3] = f * g - d * i, inverse[4] = a * i - c * g, inverse[5] = c * d - a * f;
  inverse[6] = d * h - e * g, inverse[7] = b * g - a * h, inverse[8] = a * e - b * d;
  return a * inverse[0] + d * inverse[1] + g * inverse[2];
}

// Gradients of skin_point for one point: grad_x = B^T grad; grad_matrix[16] = grad [x, 1]^T, last row 0.
AC_HD void skin_point_backward(const float* matrix, const float* x, const float* grad, float* grad_x,
                               float* grad_matrix) {
  for (int c = 0; c < 3; ++c) grad_x[c] = matrix[c] * grad[0] + matrix[4 + c] * grad[1] + matrix[8 + c] * grad[2];
  for (int r = 0; r < 3; ++r) {
    for (int c = 0; c < 3; ++c) grad_matrix[4 * r + c] = grad[r] * x[c];
    grad_matrix[4 * r + 3] = grad[r];
  }
  for (int c = 12; c < 16; ++c) grad_matrix[c] = 0;
}

// The inverse, posed to rest: y = P (x - t) with P = B^-1; where opposite rotations cancel and B has lost its volume, the
// damped least squares P = N B^T with N = (B^T B + e I)^-1. N is 0 where it is not needed.
struct Unskin {
  float p[3][3], n[3][3];
};

AC_HD Unskin skin_invert(const float* matrix) {
  const float LEAST_VOLUME = 1e-3f, DAMPING = 1e-2f;
  Unskin out;
  float cofactors[9], volume = skin_cofactors(matrix, cofactors);
  bool lost = volume < LEAST_VOLUME;
  for (int r = 0; r < 3; ++r)
    for (int c = 0; c < 3; ++c) out.p[r][c] = cofactors[3 * r + c] / volume, out.n[r][c] = 0;
  if (!lost) return out;
  float normal[12];
  for (int r = 0; r < 3; ++r)
    for (int c = 0; c < 3; ++c)
      normal[4 * r + c] = matrix[r] * matrix[c] + matrix[4 + r] * matrix[4 + c] + matrix[8 + r] * matrix[8 + c] +
                          (r == c ? DAMPING : 0);
  volume = skin_cofactors(normal, cofactors);
  for (int r = 0; r < 3; ++r)
    for (int c = 0; c < 3; ++c) out.n[r][c] = cofactors[3 * r + c] / volume;
  for (int r = 0; r < 3; ++r)
    for (int c = 0; c < 3; ++c)
      out.p[r][c] = out.n[r][0] * matrix[4 * c] + out.n[r][1] * matrix[4 * c + 1] + out.n[r][2] * matrix[4 * c + 2];
  return out;
}

AC_HD void skin_unpoint(const Unskin& inverse, const float* matrix, const float* x, float* out) {
  float s[3] = {x[0] - matrix[3], x[1] - matrix[7], x[2] - matrix[11]};
  for (int r = 0; r < 3; ++r) out[r] = inverse.p[r][0] * s[0] + inverse.p[r][1] * s[1] + inverse.p[r][2] * s[2];
}

// With h = P^T grad, q = N grad and what is left of the least squares, r = x - t - B y: grad_x = h, and the gradient of M
// is [r q^T - h y^T | -h]; last row 0.
AC_HD void skin_unpoint_backward(const float* matrix, const float* x, const float* grad, float* grad_x,
                                 float* grad_matrix) {
  Unskin inverse = skin_invert(matrix);
  float y[3], posed[3];
  skin_unpoint(inverse, matrix, x, y);
  skin_point(matrix, y, posed);
  for (int c = 0; c < 3; ++c) grad_x[c] = inverse.p[0][c] * grad[0] + inverse.p[1][c] * grad[1] + inverse.p[2][c] * grad[2];
  for (int c = 0; c < 3; ++c) {
    float q = inverse.n[0][c] * grad[0] + inverse.n[1][c] * grad[1] + inverse.n[2][c] * grad[2];
    for (int r = 0; r < 3; ++r) grad_matrix[4 * r + c] = (x[r] - posed[r]) * q - grad_x[r] * y[c];
  }
  for (int r = 0; r < 3; ++r) grad_matrix[4 * r + 3] = -grad_x[r];
  for (int c = 12; c < 16; ++c) grad_matrix[c] = 0;
}

AC_HD float skin_dot(const float* a, const float* b) {
  float total = 0;
  for (int c = 0; c < 12; ++c) total += a[c] * b[c];
  return total;
}
