// CUDA shell of the canonical points: one thread a point.
#include "canonical.h"

extern "C" __global__ void canonical_points(const float* surface, const i64* faces, const i64* face, const float* bary,
                                            const float* points, const float* distance2, float* canonical,
                                            float* height, float* facing, i64* vertices, i64 total) {
  i64 i = blockIdx.x * (i64)blockDim.x + threadIdx.x;
  if (i >= total) return;
  for (int d = 0; d < 3; ++d) vertices[3 * i + d] = faces[3 * face[i] + d];
  canonical_point(surface, vertices + 3 * i, bary + 3 * i, points + 3 * i, distance2[i], canonical + 3 * i, height + i,
                  facing + i);
}
