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

struct RasterFace {
  double edge[3][3];  // edge[i] . (x, y, 1) = t_i |det|: not negative within
  double least[3];    // a centre is within if edge . q > least: 0, or a little less for top and left edges
  double scale;       // 1 / |det|
};

// A centre on an edge, edge . q = 0, belongs to the face if the edge is its left one, or its top one.
AC_HD double raster_least(const double* edge) { return edge[0] > 0 || (edge[0] == 0 && edge[1] > 0) ? -1e-300 : 0.0; }

// False for faces without area, or with a corner that is not a number or infinite.
AC_HD bool raster_setup(const float* p0, const float* p1, const float* p2, RasterFace* face) {
  const float* p[3] = {p0, p1, p2};
  for (int i = 0; i < 3; ++i) {
    const float *a = p[(i + 1) % 3], *b = p[(i + 2) % 3];
    for (int d = 0; d < 3; ++d) {
      int e = (d + 1) % 3, f = (d + 2) % 3;
      face->edge[i][d] = (double)a[e] * b[f] - (double)a[f] * b[e];
    }
  }
  double det = face->edge[0][0] * p0[0] + face->edge[0][1] * p0[1] + face->edge[0][2] * p0[2];
  double size = det < 0 ? -det : det;
  if (!(size > 0 && size < 1e150)) return false;
  face->scale = 1 / size;
  for (int i = 0; i < 3; ++i) {
    if (det < 0)
      for (int d = 0; d < 3; ++d) face->edge[i][d] = -face->edge[i][d];
    face->least[i] = raster_least(face->edge[i]);
  }
  return true;
}

AC_HD i32 raster_clamp(double value, i32 high) { return !(value > 0) ? 0 : value < high ? (i32)value : high; }

// box = first and end column, first and end row of the pixels that the face may cover; false if there are none.
AC_HD bool raster_box(const float* p0, const float* p1, const float* p2, i32 width, i32 height, i32* box) {
  const float* p[3] = {p0, p1, p2};
  double low[2] = {1e300, 1e300}, high[2] = {-1e300, -1e300};
  int front = 0;
  for (int i = 0; i < 3; ++i) {
    float extent = p[i][0] - p[i][0] + (p[i][1] - p[i][1]) + (p[i][2] - p[i][2]);
    if (extent != 0) return false;  // a corner is not finite: the differences are not numbers
    if (!(p[i][2] > 0)) continue;
    ++front;
    double inverse = 1.0 / p[i][2];
    for (int d = 0; d < 2; ++d) {
      double at = p[i][d] * inverse;
      low[d] = at < low[d] ? at : low[d];
      high[d] = at > high[d] ? at : high[d];
    }
  }
  box[0] = box[2] = 0;
  box[1] = width;
  box[3] = height;
  if (front == 3) {  // centres lie at half pixels; the rounding of a division moves no centre across 1e-3 pixels
    box[0] = raster_clamp(low[0] + 0.499, width);
    box[1] = raster_clamp(high[0] + 0.501, width);
    box[2] = raster_clamp(low[1] + 0.499, height);
    box[3] = raster_clamp(high[1] + 0.501, height);
  }
  return front && box[0] < box[1] && box[2] < box[3];
}

// Weights t_i |det| at a pixel's centre given each edge's part that depends on the row.
AC_HD double raster_row(const double* edge, i32 y) { return edge[1] * (y + 0.5) + edge[2]; }
AC_HD double raster_weight(const double* edge, double row, i32 x) { return edge[0] * (x + 0.5) + row; }

// 1 / depth if the face covers the centre with weights w, else 0; depths beyond a float's range are not drawn.
AC_HD double raster_inverse_depth(const RasterFace& face, double w0, double w1, double w2) {
  double inverse = (w0 + w1 + w2) * face.scale;
  bool within = (w0 > face.least[0]) & (w1 > face.least[1]) & (w2 > face.least[2]) & (inverse < 3e38);
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
    for (int i = 0; i < 3; ++i) total += (along - grad[i]) * face.edge[i][d];
    out[d] = (float)(total * face.scale);
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
