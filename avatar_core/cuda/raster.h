// Z-buffer rasterisation without clipping: Olano and Greer 1997, "Triangle Scan Conversion using 2D Homogeneous
// Coordinates".
//
// A vertex is p = (x w, y w, w): x, y its place in pixels, w its planar depth. For a triangle with corners p0, p1, p2
// and a pixel's centre q = (x, y, 1), the weights t_i = (p_{i+1} x p_{i+2}) . q / det solve sum t_i p_i = q. Hence the
// pixel lies in the part of the triangle in front of the camera where all t_i > 0, also if a corner lies behind it; and
// depth = 1 / sum t, perspective-correct barycentrics = t / sum t. All are affine in x and y.
//
// Exactness: floats times floats are exact in double, so two triangles with a common edge see exactly opposite t along
// it, and the top-left rule decides ties: no pixel is drawn twice or missed.
#pragma once
#include "common.h"

// N faces side by side, so that loops over them become vector instructions; one on CUDA.
template <int N>
struct RasterFaces {
  double edge[3][3][N];  // edge[i] . (x, y, 1) = t_i |det|: not negative within
  double least[3][N];    // a centre is within if edge . q > least: 0, or a little less for top and left edges
  double scale[N];       // 1 / |det|; 0 for faces without area, or with a corner that is not a number or infinite
};
typedef RasterFaces<1> RasterFace;

template <int N>
struct RasterCorners {
  float at[3][3][N];  // corner, x w | y w | w
};

template <int N>
AC_HD void raster_take(const float* positions, const i64* face, int n, RasterCorners<N>* corners) {
  for (int i = 0; i < 3; ++i)
    for (int d = 0; d < 3; ++d) corners->at[i][d][n] = positions[3 * face[i] + d];
}

template <int N>
AC_HD void raster_setup(const RasterCorners<N>& corners, int n, RasterFaces<N>* faces) {
  double edge[3][3], det = 0;
  for (int i = 0; i < 3; ++i)
    for (int d = 0; d < 3; ++d) {
      int a = (i + 1) % 3, b = (i + 2) % 3, e = (d + 1) % 3, f = (d + 2) % 3;
      edge[i][d] = (double)corners.at[a][e][n] * corners.at[b][f][n] - (double)corners.at[a][f][n] * corners.at[b][e][n];
    }
  for (int d = 0; d < 3; ++d) det += edge[0][d] * corners.at[0][d][n];
  double sign = det < 0 ? -1 : 1, size = det * sign;
  faces->scale[n] = (size > 0) & (size < 1e150) ? 1 / size : 0;
  for (int i = 0; i < 3; ++i) {
    for (int d = 0; d < 3; ++d) faces->edge[i][d][n] = edge[i][d] * sign;
    // a centre on an edge, edge . q = 0, belongs to the face if the edge is its left one, or its top one
    double x = edge[i][0] * sign, y = edge[i][1] * sign;
    faces->least[i][n] = (x > 0) | ((x == 0) & (y > 0)) ? -1e-300 : 0.0;
  }
}

// One of several faces.
template <int N>
AC_HD RasterFace raster_pick(const RasterFaces<N>& faces, int n) {
  RasterFace one;
  for (int i = 0; i < 3; ++i) {
    for (int d = 0; d < 3; ++d) one.edge[i][d][0] = faces.edge[i][d][n];
    one.least[i][0] = faces.least[i][n];
  }
  one.scale[0] = faces.scale[n];
  return one;
}

// False for a face that is not drawn.
AC_HD bool raster_load(const float* positions, const i64* face, RasterFace* one) {
  RasterCorners<1> corners;
  raster_take(positions, face, 0, &corners);
  raster_setup(corners, 0, one);
  return one->scale[0] > 0;
}

AC_HD i32 raster_clamp(double value, i32 high) {
  double bounded = value > 0 ? value : 0;
  return (i32)(bounded < high ? bounded : high);
}

// First and end pixel, of `side` pixels, between the least and the greatest of three corners' coordinates. Centres lie
// at half pixels; the rounding of a division moves no centre across 1e-3 pixels.
AC_HD void raster_span(double a, double b, double c, i32 side, i32* first, i32* end) {
  double low = a < b ? a : b, high = a < b ? b : a;
  *first = raster_clamp((low < c ? low : c) + 0.499, side);
  *end = raster_clamp((high < c ? c : high) + 0.501, side);
}

// box = first and end column, first and end row of the pixels that face n may cover, all 0 if there are none.
template <int N>
AC_HD void raster_box(const RasterCorners<N>& corners, int n, i32 width, i32 height, i32 (*box)[N]) {
  double x[3], y[3];
  float number = 0;  // becomes NaN if a corner is not finite
  bool some = false, all = true;  // corners in front of the camera; if not all, the face may cover any pixel
  for (int i = 0; i < 3; ++i) {
    float w = corners.at[i][2][n];
    for (int d = 0; d < 3; ++d) number += 0 * corners.at[i][d][n];
    some |= w > 0;
    all &= w > 0;
    x[i] = corners.at[i][0][n] * (1.0 / w);
    y[i] = corners.at[i][1][n] * (1.0 / w);
  }
  i32 left, right, top, bottom;
  raster_span(x[0], x[1], x[2], width, &left, &right);
  raster_span(y[0], y[1], y[2], height, &top, &bottom);
  left = all ? left : 0, right = all ? right : width;
  top = all ? top : 0, bottom = all ? bottom : height;
  bool seen = (number == 0) & some & (left < right) & (top < bottom);
  box[0][n] = seen ? left : 0, box[1][n] = seen ? right : 0;
  box[2][n] = seen ? top : 0, box[3][n] = seen ? bottom : 0;
}

// Weight t_i |det| at a pixel's centre.
AC_HD double raster_weight(const RasterFace& face, int i, i32 x, i32 y) {
  return face.edge[i][0][0] * (x + 0.5) + (face.edge[i][1][0] * (y + 0.5) + face.edge[i][2][0]);
}

// 1 / depth if the face covers the centre with weights w, else 0; depths beyond a float's range are not drawn.
AC_HD double raster_inverse_depth(const RasterFace& face, double w0, double w1, double w2) {
  double inverse = (w0 + w1 + w2) * face.scale[0];
  bool within = (w0 > face.least[0][0]) & (w1 > face.least[1][0]) & (w2 > face.least[2][0]) & (inverse < 3e38);
  return within ? inverse : 0.0;
}

AC_HD void raster_barycentrics(double w0, double w1, double w2, float* bary) {
  double inverse = 1 / (w0 + w1 + w2);
  bary[0] = (float)(w0 * inverse);
  bary[1] = (float)(w1 * inverse);
  bary[2] = (float)(w2 * inverse);
}

// The gradient of a pixel with respect to its three corners is bary_i * out[3]. From sum b_i p_i = depth q follows
// sum p_i db_i - q d(depth) = -sum b_i dp_i =: -u, and with N u = the weights t of u: db = b (1 . N u) - N u and
// d(depth) = depth (1 . N u); grad . db + grad_depth d(depth) = out . u.
AC_HD void raster_gradient(const RasterFace& face, const float* bary, float depth, const float* grad, float grad_depth,
                           float* out) {
  double along = grad[0] * bary[0] + grad[1] * bary[1] + grad[2] * bary[2] + grad_depth * depth;
  for (int d = 0; d < 3; ++d) {
    double total = 0;
    for (int i = 0; i < 3; ++i) total += (along - grad[i]) * face.edge[i][d][0];
    out[d] = (float)(total * face.scale[0]);
  }
}

// out[channels] = the attributes of a face's corners, weighted.
AC_HD void raster_mix(const float* a, const float* b, const float* c, const float* bary, i32 channels, float* out) {
  for (i32 k = 0; k < channels; ++k) out[k] = bary[0] * a[k] + bary[1] * b[k] + bary[2] * c[k];
}

AC_HD float raster_dot(const float* a, const float* b, i32 channels) {
  float total = 0;
  for (i32 k = 0; k < channels; ++k) total += a[k] * b[k];
  return total;
}
