// CUDA shells of linear blend skinning: a warp is a block of 32 vertices of one body, a thread a vertex.
#include "skin.h"

__device__ static void correct(const Skin& skin, i64 body, i64 block, int lane, float* x) {
  const float* point = skin.points + body * skin.point_stride + 3 * (block * SKIN_BLOCK + lane);
  for (int d = 0; d < 3; ++d) x[d] = block * SKIN_BLOCK + lane < skin.vertices ? point[d] : 0;
  if (!skin.values) return;
  for (i32 entry = skin.first[block]; entry < skin.first[block + 1]; ++entry) {
    const short* value = skin.values + (i64)entry * SKIN_ENTRY + lane;
    float coefficient = skin.coefficients[body * skin.feature_count + skin.features[entry]];
    for (int d = 0; d < 3; ++d) x[d] += coefficient * value[d * SKIN_BLOCK];
  }
}

template <bool INVERSE>
__device__ static void forward(const Skin& skin, float* out) {
  i64 body = blockIdx.x, block = blockIdx.y, v = block * SKIN_BLOCK + threadIdx.x;
  float x[3], matrix[16];
  if (v >= skin.vertices) return;
  correct(skin, body, block, threadIdx.x, x);
  skin_blend(skin.weights + v * skin.influences, skin.joints ? skin.joints + v * skin.influences : 0, (i32)skin.influences,
             skin.transforms + 16 * skin.joint_count * body, matrix);
  if (INVERSE)
    skin_unpoint(skin_invert(matrix), matrix, x, out + 3 * (body * skin.vertices + v));
  else
    skin_point(matrix, x, out + 3 * (body * skin.vertices + v));
}

extern "C" __global__ void skin_points(const Skin skin, float* out) { forward<false>(skin, out); }
extern "C" __global__ void skin_unpoints(const Skin skin, float* out) { forward<true>(skin, out); }

// All are zero before. grad_points: as points. grad_weights: may be null. grad_transforms: [bodies, joints, 4, 4].
// grad_coefficients: [bodies, features], or null. The order of the sums, and so their last bits, may differ.
template <bool INVERSE>
__device__ static void backward(const Skin& skin, const float* grad, float* grad_points, float* grad_weights,
                                float* grad_transforms, float* grad_coefficients) {
  i64 body = blockIdx.x, block = blockIdx.y, v = block * SKIN_BLOCK + threadIdx.x;
  float x[3], matrix[16], outer[16], grad_x[3] = {0, 0, 0};
  correct(skin, body, block, threadIdx.x, x);
  if (v < skin.vertices) {
    const float *transforms = skin.transforms + 16 * skin.joint_count * body, *weights = skin.weights + v * skin.influences;
    const i32* joints = skin.joints ? skin.joints + v * skin.influences : 0;
    skin_blend(weights, joints, (i32)skin.influences, transforms, matrix);
    const float* own_grad = grad + 3 * (body * skin.vertices + v);
    if (INVERSE)
      skin_unpoint_backward(matrix, x, own_grad, grad_x, outer);
    else
      skin_point_backward(matrix, x, own_grad, grad_x, outer);
    for (int d = 0; d < 3; ++d) atomicAdd(grad_points + body * skin.point_stride + 3 * v + d, grad_x[d]);
    for (i64 k = 0; k < skin.influences; ++k) {
      i64 joint = joints ? joints[k] : k;
      float* sums = grad_transforms + 16 * (skin.joint_count * body + joint);
      if (weights[k] != 0)
        for (int c = 0; c < 12; ++c) atomicAdd(sums + c, weights[k] * outer[c]);
      if (grad_weights) atomicAdd(grad_weights + v * skin.influences + k, skin_dot(transforms + 16 * joint, outer));
    }
  }
  if (!grad_coefficients) return;
  for (i32 entry = skin.first[block]; entry < skin.first[block + 1]; ++entry) {
    const short* value = skin.values + (i64)entry * SKIN_ENTRY + threadIdx.x;
    float total = 0;
    for (int d = 0; d < 3; ++d) total += value[d * SKIN_BLOCK] * grad_x[d];
    for (int half = 16; half; half /= 2) total += __shfl_down_sync(0xffffffffu, total, half);
    if (threadIdx.x == 0) atomicAdd(grad_coefficients + body * skin.feature_count + skin.features[entry], total);
  }
}

extern "C" __global__ void skin_points_backward(const Skin skin, const float* grad, float* grad_points, float* grad_weights,
                                         float* grad_transforms, float* grad_coefficients) {
  backward<false>(skin, grad, grad_points, grad_weights, grad_transforms, grad_coefficients);
}

extern "C" __global__ void skin_unpoints_backward(const Skin skin, const float* grad, float* grad_points,
                                                 float* grad_weights, float* grad_transforms,
                                                 float* grad_coefficients) {
  backward<true>(skin, grad, grad_points, grad_weights, grad_transforms, grad_coefficients);
}
