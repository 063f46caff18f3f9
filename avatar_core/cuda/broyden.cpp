// CPU shell of the root finding: a range is of points.
#include "broyden.h"

AC_API void broyden_roots(const float* points, const float* grid, const Volume* volume, const float* starts, i32 count,
                          i32 steps, float converged, float diverged, float apart, float* roots, unsigned char* state,
                          i64 begin, i64 end) {
  for (i64 i = begin; i < end; ++i)
    broyden_point(*volume, grid, points + 3 * i, starts, count, steps, converged, diverged, apart,
                  roots + 3 * i * count, state + i * count);
}
