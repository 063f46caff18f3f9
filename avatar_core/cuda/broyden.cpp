// CPU shell of the root finding: a range is of points. All starts of all its points follow one another, LANES at once.
#include "broyden.h"

static const int LANES = 16;

AC_API void broyden_roots(const float* points, const float* grid, const Volume* volume, const float* starts, i32 count,
                          i32 steps, float converged, float diverged, float apart, float* roots, unsigned char* state,
                          i64 begin, i64 end) {
  Limits limits = {converged * converged, diverged * diverged};
  for (i64 first = begin * count; first < end * count; first += LANES) {
    Searches<LANES> all = {};
    float after[3][LANES] = {};
    int used = end * count - first < LANES ? (int)(end * count - first) : LANES;
    for (int n = 0; n < used; ++n)
      broyden_open(*volume, grid, points + 3 * ((first + n) / count), starts + 16 * ((first + n) % count), n, limits, &all);
    for (int n = 0; n < LANES; ++n) broyden_move(n, true, &all);
    for (i32 step = 0; step < steps; ++step) {
      int going[LANES], count_going = 0;
      for (int n = 0; n < used; ++n) {  // the list of those that go on, without a branch to mispredict
        going[count_going] = n;
        count_going += broyden_goes_on(limits, all.error2[n]);
      }
      if (count_going == 0) break;
      for (int k = 0; k < count_going; ++k) broyden_residual(*volume, grid, all, going[k], after);
      for (int n = 0; n < LANES; ++n) broyden_step(after, n, limits, &all);
    }
    for (int n = 0; n < used; ++n) {
      state[first + n] = broyden_found(limits, all.error2[n]);
      for (int d = 0; d < 3; ++d) roots[3 * (first + n) + d] = all.x[d][n];
    }
  }
  for (i64 i = begin; i < end; ++i) broyden_distinct(roots + 3 * i * count, count, apart, state + i * count);
}
