// CPU shell of the canonical points.
#include "canonical.h"

AC_API void canonical_points(const float* surface, const i64* faces, const i64* face, const float* bary,
                             const float* points, const float* distance2, float* canonical, float* height,
                             float* facing, i64* vertices, i64 begin, i64 end) {
  for (i64 i = begin; i < end; ++i) {
    for (int d = 0; d < 3; ++d) vertices[3 * i + d] = faces[3 * face[i] + d];
    canonical_point(surface, vertices + 3 * i, bary + 3 * i, points + 3 * i, distance2[i], canonical + 3 * i,
                    height + i, facing + i);
  }
}
