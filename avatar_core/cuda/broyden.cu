// CUDA shell of the root finding: one thread a point, all its starts in registers one after the other.
#include "broyden.h"

extern "C" __global__ void broyden_roots(const float* points, const float* grid, const Volume volume,
                                         const float* starts, i32 count, i32 steps, float converged, float diverged,
                                         float apart, float* roots, unsigned char* state, i64 total) {
  i64 i = blockIdx.x * (i64)blockDim.x + threadIdx.x;
  if (i < total)
    broyden_point(volume, grid, points + 3 * i, starts, count, steps, converged, diverged, apart,
                  roots + 3 * i * count, state + i * count);
}
