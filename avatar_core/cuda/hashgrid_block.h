// The hash grid on a CPU, 64 points at once: cells, rows and weights in loops over points, which vectorise; a row's
// features side by side in one vector of the compiler's (GCC, clang), whatever the processor.
#pragma once
#include "hashgrid.h"
#if defined(__F16C__)
#include <immintrin.h>
#endif

static const int BLOCK = 64;
static const int CHUNK = 4096;  // points that a level takes before the next has its turn

struct Corners {
  u32 row[8][BLOCK];
  float weight[8][BLOCK], fraction[3][BLOCK];
};

// x[3][CHUNK], clamped, of `count` points from points[count][3], and zeros to the end of the last block.
static inline void hg_load_points(const float* points, i64 count, float (*x)[CHUNK]) {
  for (i64 i = 0; i < (count + BLOCK - 1) / BLOCK * BLOCK; ++i)
    for (int d = 0; d < 3; ++d) x[d][i] = i < count ? ac_clamp01(points[3 * i + d]) : 0.0f;
}

// The level is a copy: nothing that is written can change it, or the loops would not vectorise.
template <bool DENSE>
static void hg_corners_of(Level level, const float (*x)[CHUNK], i64 start, Corners* out) {
  u32 cell[3][BLOCK], step_y = hg_step(level, 1), step_z = hg_step(level, 2);
  for (int d = 0; d < 3; ++d)
    for (int i = 0; i < BLOCK; ++i) cell[d][i] = hg_cell(level, x[d][start + i], out->fraction[d] + i) * hg_step(level, d);
  for (int c = 0; c < 8; ++c)
    for (int i = 0; i < BLOCK; ++i) {
      out->row[c][i] = hg_row<DENSE>(level, c, cell[0][i], cell[1][i], cell[2][i], step_y, step_z);
      out->weight[c][i] = hg_weight(c, out->fraction[0][i], out->fraction[1][i], out->fraction[2][i]);
    }
}

static inline void hg_corners_of(const Level& level, const float (*x)[CHUNK], i64 start, Corners* out) {
  if (level.dense)
    hg_corners_of<true>(level, x, start, out);
  else
    hg_corners_of<false>(level, x, start, out);
}

// A row's features as one vector.
template <int F>
struct Lanes;
#define HG_LANES(F)                                                \
  template <>                                                      \
  struct Lanes<F> {                                                \
    typedef float Vector __attribute__((vector_size(4 * F)));      \
    typedef u32 Bits __attribute__((vector_size(4 * F)));          \
    typedef unsigned short Short __attribute__((vector_size(2 * F))); \
  };
HG_LANES(1)
HG_LANES(2)
HG_LANES(4)
HG_LANES(8)

template <int F>
struct Features {
  typedef typename Lanes<F>::Vector Vector;
  typedef typename Lanes<F>::Bits Bits;

  static inline Vector load(const float* row) {
    Vector value;
    __builtin_memcpy(&value, row, sizeof value);
    return value;
  }
  static inline Vector load(const Bfloat* row) { return (Vector)(bits(row) << 16); }
  // As hg_float.
  static inline Vector load(const Half* row) {
#if defined(__F16C__)
    u64 raw[2] = {0, 0};
    __builtin_memcpy(raw, row, 2 * F);
    __m256 all = _mm256_cvtph_ps(_mm_set_epi64x((i64)raw[1], (i64)raw[0]));
    Vector value;
    __builtin_memcpy(&value, &all, sizeof value);
    return value;
#else
    Bits in = bits(row), magnitude = in & 0x7fffu;
    Bits finite = (Bits)((Vector)(magnitude << 13) * 5.192296858534828e33f);
    return (Vector)((magnitude < 0x7c00u ? finite : 0x7f800000u | magnitude << 13) | (in & 0x8000u) << 16);
#endif
  }
  static inline void store(float* row, Vector value) { __builtin_memcpy(row, &value, sizeof value); }
  static inline void add(float* row, Vector value) { store(row, load(row) + value); }

 private:
  template <class T>
  static inline Bits bits(const T* row) {
    typename Lanes<F>::Short value;
    __builtin_memcpy(&value, row, sizeof value);
    return __builtin_convertvector(value, Bits);
  }
};

// Interpolated features of point i.
template <int F, class T>
static inline typename Features<F>::Vector hg_mix(const T* level, const Corners& corners, int i) {
  typename Features<F>::Vector sum = {};
  for (int c = 0; c < 8; ++c) sum += corners.weight[c][i] * Features<F>::load(level + F * corners.row[c][i]);
  return sum;
}
