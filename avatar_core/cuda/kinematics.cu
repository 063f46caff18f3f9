// CUDA shells of the kinematics: one thread a rotation, or a body.
#include "kinematics.h"

extern "C" __global__ void kinematics_rotations(const float* pose, float* out, i64 total) {
  i64 i = blockIdx.x * (i64)blockDim.x + threadIdx.x;
  if (i >= total) return;
  double matrix[9];
  kinematics_rotation(pose + 3 * i, matrix);
  for (int k = 0; k < 9; ++k) out[9 * i + k] = (float)matrix[k];
}

extern "C" __global__ void kinematics_rotations_backward(const float* pose, const float* grad, float* out, i64 total) {
  i64 i = blockIdx.x * (i64)blockDim.x + threadIdx.x;
  if (i >= total) return;
  double matrix[9];
  for (int k = 0; k < 9; ++k) matrix[k] = grad[9 * i + k];
  kinematics_rotation_backward(pose + 3 * i, matrix, out + 3 * i);
}

extern "C" __global__ void kinematics_chains(const float* pose, const float* joints, const i32* parents, i32 count,
                                             const float* transl, float* transforms, i64 total) {
  i64 b = blockIdx.x * (i64)blockDim.x + threadIdx.x;
  if (b < total)
    kinematics_chain(pose + 3 * count * b, joints + 3 * count * b, parents, count, transl + 3 * b,
                     transforms + 16 * count * b);
}

extern "C" __global__ void kinematics_chains_backward(const float* pose, const float* joints, const i32* parents,
                                                      i32 count, const float* transforms, float* grad,
                                                      float* grad_pose, float* grad_joints, float* grad_transl,
                                                      i64 total) {
  i64 b = blockIdx.x * (i64)blockDim.x + threadIdx.x;
  if (b < total)
    kinematics_chain_backward(pose + 3 * count * b, joints + 3 * count * b, parents, count, transforms + 16 * count * b,
                              grad + 16 * count * b, grad_pose + 3 * count * b, grad_joints + 3 * count * b,
                              grad_transl + 3 * b);
}
