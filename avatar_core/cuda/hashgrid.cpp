// CPU shells of the hash grid. Each works on a half-open range, so that a pool of threads can share the work. A level
// takes CHUNK points before the next has its turn: the level's rows and the points' features both stay in the cache.
#include "hashgrid_block.h"

static i64 smaller(i64 a, i64 b) { return a < b ? a : b; }

template <int F, class T>
static void forward(const float* points, const T* table, const Level* levels, i32 count, float* out, i64 begin,
                    i64 end) {
  float x[3][CHUNK];
  Corners corners;
  for (i64 chunk = begin; chunk < end; chunk += CHUNK) {
    hg_load_points(points + 3 * chunk, smaller(CHUNK, end - chunk), x);
    for (i32 l = 0; l < count; ++l)
      for (i64 start = chunk; start < smaller(chunk + CHUNK, end); start += BLOCK) {
        int size = (int)smaller(BLOCK, end - start);
        hg_corners_of(levels[l], x, start - chunk, &corners);
        for (int i = 0; i < size; ++i)
          Features<F>::store(out + F * ((start + i) * count + l), hg_mix<F>(table + F * levels[l].offset, corners, i));
      }
  }
}

// Task t adds the gradient of level t % count over slice t / count of the points to that slice's table of its own: no
// two tasks write to one row.
template <int F>
static void backward_table(const float* points, const float* grad, const Level* levels, i32 count, i64 total,
                           i32 slices, i64 rows, float* grad_tables, i64 begin, i64 end) {
  float x[3][CHUNK];
  Corners corners;
  for (i64 slice = begin / count; slice * count < end; ++slice) {
    i64 first = begin > slice * count ? begin - slice * count : 0, last = smaller(count, end - slice * count);
    i64 stop = total * (slice + 1) / slices;
    for (i64 chunk = total * slice / slices; chunk < stop; chunk += CHUNK) {
      hg_load_points(points + 3 * chunk, smaller(CHUNK, stop - chunk), x);
      for (i64 l = first; l < last; ++l)
        for (i64 start = chunk; start < smaller(chunk + CHUNK, stop); start += BLOCK) {
          int size = (int)smaller(BLOCK, smaller(chunk + CHUNK, stop) - start);
          float* level = grad_tables + F * (slice * rows + levels[l].offset);
            hg_corners_of(levels[l], x, start - chunk, &corners);
          for (int i = 0; i < size; ++i) {
            typename Features<F>::Vector g = Features<F>::load(grad + F * ((start + i) * count + l));
            for (int c = 0; c < 8; ++c) Features<F>::add(level + F * corners.row[c][i], corners.weight[c][i] * g);
          }
        }
    }
  }
}

template <int F, class T>
static void backward_points(const float* points, const T* table, const float* grad, const Level* levels, i32 count,
                            float* grad_points, i64 begin, i64 end) {
  float x[3][CHUNK], value[8][BLOCK], slope[3][BLOCK];
  Corners corners;
  for (i64 i = 3 * begin; i < 3 * end; ++i) grad_points[i] = 0;
  for (i64 chunk = begin; chunk < end; chunk += CHUNK) {
    hg_load_points(points + 3 * chunk, smaller(CHUNK, end - chunk), x);
    for (i32 l = 0; l < count; ++l)
      for (i64 start = chunk; start < smaller(chunk + CHUNK, end); start += BLOCK) {
        int size = (int)smaller(BLOCK, smaller(chunk + CHUNK, end) - start);
        hg_corners_of(levels[l], x, start - chunk, &corners);
        for (int i = 0; i < size; ++i) {
          typename Features<F>::Vector g = Features<F>::load(grad + F * ((start + i) * count + l));
          for (int c = 0; c < 8; ++c) {
            typename Features<F>::Vector product =
                g * Features<F>::load(table + F * (levels[l].offset + corners.row[c][i]));
            value[c][i] = 0;
            for (int f = 0; f < F; ++f) value[c][i] += product[f];
          }
        }
        for (int d = 0; d < 3; ++d) {
          const float *one = corners.fraction[(d + 1) % 3], *other = corners.fraction[(d + 2) % 3];
          for (int i = 0; i < BLOCK; ++i) slope[d][i] = 0;
          for (int c = 0; c < 8; ++c)
            for (int i = 0; i < BLOCK; ++i)
              slope[d][i] += value[c][i] * hg_slope(c, d, one[i], other[i]) * levels[l].scale;
        }
        for (int i = 0; i < size; ++i)
          for (int d = 0; d < 3; ++d) {
            float at = points[3 * (start + i) + d];
            grad_points[3 * (start + i) + d] += at >= 0 && at <= 1 ? slope[d][i] : 0;  // outside, x is clamped
          }
      }
  }
}

AC_API void hashgrid_forward(const float* points, const void* table, i32 features, i32 type, const Level* levels,
                             i32 count, float* out, i64 begin, i64 end) {
#define CALL(F, T) forward<F>(points, (const T*)table, levels, count, out, begin, end)
  HG_CALL(features, type, CALL)
#undef CALL
}

AC_API void hashgrid_backward_table(const float* points, const float* grad, i32 features, const Level* levels,
                                    i32 count, i64 total, i32 slices, i64 rows, float* grad_tables, i64 begin,
                                    i64 end) {
#define CALL(F, T) backward_table<F>(points, grad, levels, count, total, slices, rows, grad_tables, begin, end)
  HG_CALL(features, 0, CALL)
#undef CALL
}

AC_API void hashgrid_backward_points(const float* points, const void* table, const float* grad, i32 features, i32 type,
                                     const Level* levels, i32 count, float* grad_points, i64 begin, i64 end) {
#define CALL(F, T) backward_points<F>(points, (const T*)table, grad, levels, count, grad_points, begin, end)
  HG_CALL(features, type, CALL)
#undef CALL
}
