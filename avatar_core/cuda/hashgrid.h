// Multi-resolution hash grid: Mueller et al. 2022, eq. 1-4. See hashgrid.py for the definition.
// A table row holds 1, 2, 4 or 8 features, each a float, Half or Bfloat; sums are in float.
#pragma once
#include "common.h"

struct Level {
  i64 offset;      // first row of the level in the table
  u32 size;        // rows; a power of two for hashed levels
  u32 resolution;  // grid points a side
  float scale;     // grid units per unit of x
  u32 dense;       // 1: row = grid point; 0: hashed
};

struct Half {
  unsigned short bits;
};
struct Bfloat {
  unsigned short bits;
};

AC_HD float hg_bits(u32 bits) {
  union {
    u32 integer;
    float real;
  } value = {bits};
  return value.real;
}
AC_HD float hg_float(float value) { return value; }
AC_HD float hg_float(Bfloat value) { return hg_bits((u32)value.bits << 16); }
// Exponent and mantissa move into place; 2^112 corrects the bias of the exponent, for subnormal numbers too.
AC_HD float hg_float(Half value) {
  u32 magnitude = value.bits & 0x7fffu;
  float finite = hg_bits(magnitude << 13) * 5.192296858534828e33f;
  float size = magnitude < 0x7c00u ? finite : hg_bits(0x7f800000u | magnitude << 13);
  return value.bits & 0x8000u ? -size : size;
}

// The cell along one axis of a coordinate in [0, 1], and the fraction within it.
AC_HD u32 hg_cell(const Level& level, float x, float* fraction) {
  float p = x * level.scale + 0.5f;
  i32 cell = (i32)p;
  *fraction = p - (float)cell;
  return (u32)cell;
}

// What a cell's number along an axis is multiplied by: the product for its upper side is one step further.
AC_HD u32 hg_step(const Level& level, int axis) {
  if (axis == 0) return 1;
  if (level.dense) return axis == 1 ? level.resolution : level.resolution * level.resolution;
  return axis == 1 ? 2654435761u : 805459861u;
}

// Row of a cell's corner, whose bit d is set on the upper side of axis d; x, y, z: the cell's numbers times their steps.
template <bool DENSE>
AC_HD u32 hg_row(const Level& level, int corner, u32 x, u32 y, u32 z, u32 step_y, u32 step_z) {
  x += corner & 1;
  y += corner & 2 ? step_y : 0;
  z += corner & 4 ? step_z : 0;
  return DENSE ? x + y + z : (x ^ y ^ z) & (level.size - 1);
}

AC_HD float hg_side(int corner, int axis, float fraction) { return corner >> axis & 1 ? fraction : 1 - fraction; }

// Trilinear weight of a corner.
AC_HD float hg_weight(int corner, float x, float y, float z) {
  return hg_side(corner, 0, x) * (hg_side(corner, 1, y) * hg_side(corner, 2, z));
}

// Derivative of that along an axis, given the fractions along the two others.
AC_HD float hg_slope(int corner, int axis, float one, float other) {
  float weight = hg_side(corner, (axis + 1) % 3, one) * hg_side(corner, (axis + 2) % 3, other);
  return corner >> axis & 1 ? weight : -weight;
}

// Rows around x, and the fraction within the cell. Coordinates are clamped to [0, 1] and NaN becomes 0, so that no row
// lies outside of the table.
AC_HD void hg_corners(const Level& level, const float* x, u32* row, float* fraction) {
  u32 cell[3], step_y = hg_step(level, 1), step_z = hg_step(level, 2);
  for (int d = 0; d < 3; ++d) cell[d] = hg_cell(level, ac_clamp01(x[d]), fraction + d);
  cell[1] *= step_y;
  cell[2] *= step_z;
  for (int c = 0; c < 8; ++c)
    row[c] = level.dense ? hg_row<true>(level, c, cell[0], cell[1], cell[2], step_y, step_z)
                         : hg_row<false>(level, c, cell[0], cell[1], cell[2], step_y, step_z);
}

// out[F] = interpolated features of one level.
template <int F, class T>
AC_HD void hg_lookup(const Level& level, const float* x, const T* table, float* out) {
  u32 row[8];
  float fraction[3], sum[F] = {};
  hg_corners(level, x, row, fraction);
  for (int c = 0; c < 8; ++c) {
    float weight = hg_weight(c, fraction[0], fraction[1], fraction[2]);
    const T* entry = table + F * (level.offset + row[c]);
    for (int f = 0; f < F; ++f) sum[f] += weight * hg_float(entry[f]);
  }
  for (int f = 0; f < F; ++f) out[f] = sum[f];
}

// Adds the gradient with respect to x of one level to grad_x[3]; grad[F] is the gradient of the level's output.
template <int F, class T>
AC_HD void hg_point_gradient(const Level& level, const float* x, const T* table, const float* grad, float* grad_x) {
  u32 row[8];
  float fraction[3], total[3] = {};
  hg_corners(level, x, row, fraction);
  for (int c = 0; c < 8; ++c) {
    const T* entry = table + F * (level.offset + row[c]);
    float value = 0;
    for (int f = 0; f < F; ++f) value += hg_float(entry[f]) * grad[f];
    for (int d = 0; d < 3; ++d) total[d] += value * hg_slope(c, d, fraction[(d + 1) % 3], fraction[(d + 2) % 3]);
  }
  for (int d = 0; d < 3; ++d)
    if (x[d] >= 0 && x[d] <= 1) grad_x[d] += total[d] * level.scale;  // outside, x is clamped
}

// CALL(features, type) with the constants for a number of features and a type of table (0 float, 1 Half, 2 Bfloat)
// that are known at run time.
#define HG_FEATURES(features, CALL, T) \
  switch (features) {                  \
    case 1:                            \
      CALL(1, T);                      \
      break;                           \
    case 2:                            \
      CALL(2, T);                      \
      break;                           \
    case 4:                            \
      CALL(4, T);                      \
      break;                           \
    case 8:                            \
      CALL(8, T);                      \
      break;                           \
  }
#define HG_CALL(features, type, CALL)      \
  if (type == 0) {                         \
    HG_FEATURES(features, CALL, float)     \
  } else if (type == 1) {                  \
    HG_FEATURES(features, CALL, Half)      \
  } else {                                 \
    HG_FEATURES(features, CALL, Bfloat)    \
  }
