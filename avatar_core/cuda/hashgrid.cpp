// CPU shells of the hash grid: each works on a half-open range, so that a pool of threads can share the work.
#include "hashgrid.h"

static const i64 BLOCK = 64;  // points that go through one level before the next: the level stays in the cache

AC_API void hashgrid_forward(const float* x, const float* table, const Level* levels, i32 count, float* out, i64 begin,
                             i64 end) {
  for (i64 start = begin; start < end; start += BLOCK) {
    i64 stop = start + BLOCK < end ? start + BLOCK : end;
    for (i32 l = 0; l < count; ++l)
      for (i64 i = start; i < stop; ++i) hg_lookup(levels[l], x + 3 * i, table, out + (i * count + l) * 2);
  }
}

// The range is of levels, not of points: no two threads write to one row.
AC_API void hashgrid_backward_table(const float* x, const float* grad, const Level* levels, i32 count, i64 points,
                                    float* grad_table, i64 begin, i64 end) {
  for (i64 l = begin; l < end; ++l) {
    const Level& level = levels[l];
    float* rows = grad_table + 2 * level.offset;
    for (i64 i = 0; i < points; ++i) {
      u32 row[8];
      float weight[8], fraction[3];
      hg_corners(level, x + 3 * i, row, weight, fraction);
      const float* g = grad + (i * count + l) * 2;
      for (int c = 0; c < 8; ++c) {
        rows[2 * row[c]] += weight[c] * g[0];
        rows[2 * row[c] + 1] += weight[c] * g[1];
      }
    }
  }
}

AC_API void hashgrid_backward_points(const float* x, const float* table, const float* grad, const Level* levels,
                                     i32 count, float* grad_x, i64 begin, i64 end) {
  for (i64 i = begin; i < end; ++i) {
    float* out = grad_x + 3 * i;
    out[0] = out[1] = out[2] = 0;
    for (i32 l = 0; l < count; ++l)
      hg_point_gradient(levels[l], x + 3 * i, table, grad + (i * count + l) * 2, out);
  }
}
