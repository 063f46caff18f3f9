// CUDA shells of the hash grid. Launch with one thread a point in x; levels lie in y, but for backward_points.
#include "hashgrid.h"

extern "C" __global__ void hashgrid_forward(const float* points, const void* table, i32 features, i32 type,
                                            const Level* levels, i32 count, float* out, i64 total) {
  i64 i = blockIdx.x * (i64)blockDim.x + threadIdx.x;
  i32 l = blockIdx.y;
  if (i >= total) return;
#define CALL(F, T) hg_lookup<F>(levels[l], points + 3 * i, (const T*)table, out + F * (i * count + l))
  HG_CALL(features, type, CALL)
#undef CALL
}

extern "C" __global__ void hashgrid_backward_table(const float* points, const float* grad, i32 features,
                                                   const Level* levels, i32 count, float* grad_table, i64 total) {
  i64 i = blockIdx.x * (i64)blockDim.x + threadIdx.x;
  i32 l = blockIdx.y;
  if (i >= total) return;
  u32 row[8];
  float fraction[3];
  hg_corners(levels[l], points + 3 * i, row, fraction);
  const float* g = grad + features * (i * count + l);
  for (int c = 0; c < 8; ++c) {
    float weight = hg_weight(c, fraction[0], fraction[1], fraction[2]);
    float* entry = grad_table + features * (levels[l].offset + row[c]);
    for (i32 f = 0; f < features; ++f) atomicAdd(entry + f, weight * g[f]);
  }
}

extern "C" __global__ void hashgrid_backward_points(const float* points, const void* table, const float* grad,
                                                    i32 features, i32 type, const Level* levels, i32 count,
                                                    float* grad_points, i64 total) {
  i64 i = blockIdx.x * (i64)blockDim.x + threadIdx.x;
  if (i >= total) return;
  float sum[3] = {0, 0, 0};
  for (i32 l = 0; l < count; ++l) {
#define CALL(F, T) \
  hg_point_gradient<F>(levels[l], points + 3 * i, (const T*)table, grad + F * (i * count + l), sum)
    HG_CALL(features, type, CALL)
#undef CALL
  }
  for (int d = 0; d < 3; ++d) grad_points[3 * i + d] = sum[d];
}
