// CUDA shells of linear blend skinning: one thread a point.
#include "skin.h"

extern "C" __global__ void skin_forward(const float* points, const float* weights, const i32* joints, i32 count,
                                        const float* transforms, float* out, i64 total) {
  i64 i = blockIdx.x * (i64)blockDim.x + threadIdx.x;
  if (i >= total) return;
  float matrix[16];
  skin_blend(weights + i * count, joints ? joints + i * count : 0, count, transforms, matrix);
  skin_point(matrix, points + 3 * i, out + 3 * i);
}

// grad_transforms: [joint_count, 12], zero before.
extern "C" __global__ void skin_backward(const float* points, const float* weights, const i32* joints, i32 count,
                                         const float* transforms, const float* grad, i64 total, float* grad_points,
                                         float* grad_weights, float* grad_transforms) {
  i64 i = blockIdx.x * (i64)blockDim.x + threadIdx.x;
  if (i >= total) return;
  float matrix[16], outer[12];
  const i32* own = joints ? joints + i * count : 0;
  skin_blend(weights + i * count, own, count, transforms, matrix);
  skin_point_backward(matrix, points + 3 * i, grad + 3 * i, grad_points + 3 * i, outer);
  for (i32 k = 0; k < count; ++k) {
    i64 joint = own ? own[k] : k;
    float weight = weights[i * count + k], dot = 0;
    for (int c = 0; c < 12; ++c) {
      dot += transforms[16 * joint + c] * outer[c];
      if (weight != 0) atomicAdd(grad_transforms + 12 * joint + c, weight * outer[c]);
    }
    grad_weights[i * count + k] = dot;
  }
}
