// CPU shells of linear blend skinning. A range is of points of one body; gradients of transforms are summed in parts of
// a fixed size, so that they do not depend on the number of threads.
#include "skin.h"

AC_API void skin_forward(const float* points, const float* weights, const i32* joints, i32 count,
                         const float* transforms, float* out, i64 begin, i64 end) {
  for (i64 i = begin; i < end; ++i) {
    float matrix[16];
    skin_blend(weights + i * count, joints ? joints + i * count : 0, count, transforms, matrix);
    skin_point(matrix, points + 3 * i, out + 3 * i);
  }
}

// The range is of parts of `part` points each; grad_transforms: [parts, joint_count, 12], zero before.
AC_API void skin_backward(const float* points, const float* weights, const i32* joints, i32 count,
                          const float* transforms, const float* grad, i64 total, i64 part, i64 joint_count,
                          float* grad_points, float* grad_weights, float* grad_transforms, i64 begin, i64 end) {
  for (i64 p = begin; p < end; ++p) {
    float* sums = grad_transforms + p * joint_count * 12;
    i64 stop = (p + 1) * part < total ? (p + 1) * part : total;
    for (i64 i = p * part; i < stop; ++i) {
      float matrix[16], outer[12];
      const i32* own = joints ? joints + i * count : 0;
      skin_blend(weights + i * count, own, count, transforms, matrix);
      skin_point_backward(matrix, points + 3 * i, grad + 3 * i, grad_points + 3 * i, outer);
      for (i32 k = 0; k < count; ++k) {
        i64 joint = own ? own[k] : k;
        float weight = weights[i * count + k], dot = 0;
        for (int c = 0; c < 12; ++c) {
          dot += transforms[16 * joint + c] * outer[c];
          sums[12 * joint + c] += weight * outer[c];
        }
        grad_weights[i * count + k] = dot;
      }
    }
  }
}
