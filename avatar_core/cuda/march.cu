// CUDA shells of marching: a thread a ray.
#include "march.h"

extern "C" __global__ void march_count(MarchGrid grid, const float* origins, const float* directions,
                                       const float* jitter, i64* count, i64 rays) {
  i64 i = blockIdx.x * (i64)blockDim.x + threadIdx.x;
  if (i >= rays) return;
  count[i] = march_ray(grid, origins + 3 * i, directions + 3 * i, jitter ? jitter[i] : 0.5f, nullptr, 1ll << 62);
}

extern "C" __global__ void march_fill(MarchGrid grid, const float* origins, const float* directions,
                                      const float* jitter, const i64* start, i64* ray, float* distance, i64 rays) {
  i64 i = blockIdx.x * (i64)blockDim.x + threadIdx.x;
  if (i >= rays) return;
  i64 room = start[i + 1] - start[i];
  for (i64 s = start[i]; s < start[i + 1]; ++s) ray[s] = i;
  if (room) march_ray(grid, origins + 3 * i, directions + 3 * i, jitter ? jitter[i] : 0.5f, distance + start[i], room);
}
