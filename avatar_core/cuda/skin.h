// Linear blend skinning: x' = M x with M = sum_k w_k A_j(k), rows of A are 16 floats (4x4), so that a matrix is a cache
// line. See skin.py for the definition and the gradients.
#pragma once
#include "common.h"

// matrix[16] = sum_k weights[k] transforms[joints ? joints[k] : k].
AC_HD void skin_blend(const float* weights, const i32* joints, i32 count, const float* transforms, float* matrix) {
  for (int i = 0; i < 16; ++i) matrix[i] = 0;
  for (i32 k = 0; k < count; ++k) {
    const float* one = transforms + 16 * (i64)(joints ? joints[k] : k);
    for (int i = 0; i < 16; ++i) matrix[i] += weights[k] * one[i];
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

// Gradients of skin_point for one point: grad_x = B^T grad; grad_matrix[12] += grad [x, 1]^T.
AC_HD void skin_point_backward(const float* matrix, const float* x, const float* grad, float* grad_x,
                               float* grad_matrix) {
  for (int c = 0; c < 3; ++c) grad_x[c] = matrix[c] * grad[0] + matrix[4 + c] * grad[1] + matrix[8 + c] * grad[2];
  for (int r = 0; r < 3; ++r) {
    for (int c = 0; c < 3; ++c) grad_matrix[4 * r + c] = grad[r] * x[c];
    grad_matrix[4 * r + 3] = grad[r];
  }
}
