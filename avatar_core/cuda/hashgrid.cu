// CUDA shells of the hash grid. Launch with one thread a point in x and one level in y.
#include "hashgrid.h"

extern "C" __global__ void hashgrid_forward(const float* x, const float* table, const Level* levels, i32 count,
                                            float* out, i64 points) {
  i64 i = blockIdx.x * (i64)blockDim.x + threadIdx.x;
  i32 l = blockIdx.y;
  if (i < points) hg_lookup(levels[l], x + 3 * i, table, out + (i * count + l) * 2);
}

extern "C" __global__ void hashgrid_backward_table(const float* x, const float* grad, const Level* levels, i32 count,
                                                   float* grad_table, i64 points) {
  i64 i = blockIdx.x * (i64)blockDim.x + threadIdx.x;
  i32 l = blockIdx.y;
  if (i >= points) return;
  u32 row[8];
  float weight[8], fraction[3];
  hg_corners(levels[l], x + 3 * i, row, weight, fraction);
  const float* g = grad + (i * count + l) * 2;
  float* rows = grad_table + 2 * levels[l].offset;
  for (int c = 0; c < 8; ++c) {
    atomicAdd(rows + 2 * row[c], weight[c] * g[0]);
    atomicAdd(rows + 2 * row[c] + 1, weight[c] * g[1]);
  }
}

extern "C" __global__ void hashgrid_backward_points(const float* x, const float* table, const float* grad,
                                                    const Level* levels, i32 count, float* grad_x, i64 points) {
  i64 i = blockIdx.x * (i64)blockDim.x + threadIdx.x;
  if (i >= points) return;
  float total[3] = {0, 0, 0};
  for (i32 l = 0; l < count; ++l)
    hg_point_gradient(levels[l], x + 3 * i, table, grad + (i * count + l) * 2, total);
  for (int d = 0; d < 3; ++d) grad_x[3 * i + d] = total[d];
}
