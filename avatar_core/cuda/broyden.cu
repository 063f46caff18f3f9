// CUDA shell of the root finding: one thread a point, all its starts in registers one after the other.
#include "broyden.h"

extern "C" __global__ void broyden_roots(const float* points, const float* grid, const Volume volume,
                                         const float* starts, i32 count, i32 steps, float converged, float diverged,
                                         float apart, float* roots, unsigned char* state, i64 total) {
  i64 i = blockIdx.x * (i64)blockDim.x + threadIdx.x;
  if (i >= total) return;
  Limits limits = {converged * converged, diverged * diverged};
  for (i32 s = 0; s < count; ++s) {
    Searches<1> one;
    float after[3][1];
    broyden_open(volume, grid, points + 3 * i, starts + 16 * (i64)s, 0, limits, &one);
    broyden_move(0, true, &one);
    for (i32 step = 0; step < steps && broyden_goes_on(limits, one.error2[0]); ++step) {
      broyden_residual(volume, grid, one, 0, after);
      broyden_step(after, 0, limits, &one);
    }
    state[i * count + s] = broyden_found(limits, one.error2[0]);
    for (int d = 0; d < 3; ++d) roots[3 * (i * count + s) + d] = one.x[d][0];
  }
  broyden_distinct(roots + 3 * i * count, count, apart, state + i * count);
}
