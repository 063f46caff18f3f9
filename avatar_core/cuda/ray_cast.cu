// CUDA shell of ray casting: one thread a ray.
#include "ray_cast.h"

extern "C" __global__ void ray_cast(const Node* nodes, const Leaf* leaves, const float* origins,
                                    const float* directions, float near, float far, float* t, i64* face, float* bary,
                                    i64 rays) {
  i64 i = blockIdx.x * (i64)blockDim.x + threadIdx.x;
  if (i >= rays) return;
  put_ray_hit(tree_cast(nodes, leaves, 0, origins + 3 * i, directions + 3 * i, near, far), i, t, face, bary);
}
