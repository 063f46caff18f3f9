// Multi-resolution hash grid: Mueller et al. 2022, eq. 1-4, two features a level. See hashgrid.py for the definition.
#pragma once
#include "common.h"

struct Level {
  i64 offset;      // first row of the level in the table
  u32 size;        // rows; a power of two for hashed levels
  u32 resolution;  // grid points a side
  float scale;     // grid units per unit of x
  u32 dense;       // 1: row = grid point; 0: hashed
};

// Rows and weights of the eight corners around x in [0, 1]^3; fraction[3] within the cell.
AC_HD void hg_corners(const Level& level, const float* x, u32* row, float* weight, float* fraction) {
  u32 cell[3];
  for (int d = 0; d < 3; ++d) {
    float p = ac_clamp01(x[d]) * level.scale + 0.5f;  // NaN becomes 0: no row outside of the table
    cell[d] = (u32)p;
    fraction[d] = p - (float)cell[d];
  }
  for (int c = 0; c < 8; ++c) {
    u32 i = cell[0] + (c & 1), j = cell[1] + (c >> 1 & 1), k = cell[2] + (c >> 2 & 1);
    row[c] = level.dense ? (k * level.resolution + j) * level.resolution + i
                         : (i ^ (j * 2654435761u) ^ (k * 805459861u)) & (level.size - 1);
    weight[c] = ((c & 1) ? fraction[0] : 1 - fraction[0]) * ((c & 2) ? fraction[1] : 1 - fraction[1]) *
                ((c & 4) ? fraction[2] : 1 - fraction[2]);
  }
}

// out[2] = interpolated features of one level.
AC_HD void hg_lookup(const Level& level, const float* x, const float* table, float* out) {
  u32 row[8];
  float weight[8], fraction[3], a = 0, b = 0;
  hg_corners(level, x, row, weight, fraction);
  for (int c = 0; c < 8; ++c) {
    const float* entry = table + 2 * (level.offset + row[c]);
    a += weight[c] * entry[0];
    b += weight[c] * entry[1];
  }
  out[0] = a;
  out[1] = b;
}

// Adds the gradient with respect to x of one level to grad_x[3]; grad[2] is the gradient of the level's output.
AC_HD void hg_point_gradient(const Level& level, const float* x, const float* table, const float* grad, float* grad_x) {
  u32 row[8];
  float weight[8], fraction[3];
  hg_corners(level, x, row, weight, fraction);
  float total[3] = {0, 0, 0};
  for (int c = 0; c < 8; ++c) {
    const float* entry = table + 2 * (level.offset + row[c]);
    float value = entry[0] * grad[0] + entry[1] * grad[1];
    float wx = (c & 1) ? fraction[0] : 1 - fraction[0];
    float wy = (c & 2) ? fraction[1] : 1 - fraction[1];
    float wz = (c & 4) ? fraction[2] : 1 - fraction[2];
    total[0] += ((c & 1) ? value : -value) * wy * wz;
    total[1] += ((c & 2) ? value : -value) * wx * wz;
    total[2] += ((c & 4) ? value : -value) * wx * wy;
  }
  for (int d = 0; d < 3; ++d)
    if (x[d] >= 0 && x[d] <= 1) grad_x[d] += total[d] * level.scale;  // outside, x is clamped
}
