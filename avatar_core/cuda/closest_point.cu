// CUDA shell of the closest point: one thread a point. The tree is built on the CPU.
#include "closest_point.h"

extern "C" __global__ void closest_query(const Node* nodes, const Leaf* leaves, const float* points, float reach2,
                                         float* distance2, i64* face, float* bary, i64 count) {
  i64 i = blockIdx.x * (i64)blockDim.x + threadIdx.x;
  if (i < count) put_hit(tree_closest(nodes, leaves, points + 3 * i, reach2), i, distance2, face, bary);
}
