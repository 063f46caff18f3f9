// The canonical point of a point near a posed mesh: Neural Actor, eq. 3-5, with the blended transform interpolated over
// the closest triangle. See canonical.py.
#pragma once
#include "skin.h"

enum { SURFACE = 21 };  // floats a vertex: transform (12, rows), canonical offset (3), normal (3), place (3)

// distance2 is infinite where there is no closest point.
AC_HD void canonical_point(const float* surface, const i64* corners, const float* bary, const float* x, float distance2,
                           float* canonical, float* height, float* facing) {
  float at[SURFACE], inverse[9], shifted[3];
  const float *a = surface + SURFACE * corners[0], *b = surface + SURFACE * corners[1];
  const float* c = surface + SURFACE * corners[2];
  for (int i = 0; i < SURFACE; ++i) at[i] = bary[0] * a[i] + bary[1] * b[i] + bary[2] * c[i];
  float volume = skin_cofactors(at, inverse);
  float scale = 1.0f / (volume < 1e-9f && volume > -1e-9f ? 1e-9f : volume);
  float side = 0;
  for (int d = 0; d < 3; ++d) shifted[d] = x[d] - at[4 * d + 3], side += (x[d] - at[18 + d]) * at[15 + d];
  for (int d = 0; d < 3; ++d)
    canonical[d] =
        (inverse[3 * d] * shifted[0] + inverse[3 * d + 1] * shifted[1] + inverse[3 * d + 2] * shifted[2]) * scale -
        at[12 + d];
  float distance = __builtin_sqrtf(ac_max(distance2, 0.0f));
  *height = side >= 0 || distance > 1e30f ? distance : -distance;
  *facing = at[16];
}
