// Forward kinematics of a skeleton: rotations from axis times angle, and the chain of transforms, with gradients. See
// kinematics.py. A body has few joints, so all is computed in double: the gradients of small angles keep their digits.
#pragma once
#include "common.h"

// Taylor's series within half a turn, 10 terms: exact to 1e-9.
AC_HD void kinematics_sine(double angle, double* sine, double* cosine) {
  double turns = angle * 0.15915494309189535, bounded = turns < 1e9 ? turns : 1e9;
  double x = 6.283185307179586 * (bounded - (double)(i64)(bounded + 0.5)), x2 = x * x, s = 0, c = 0;
  for (int n = 10; n > 0; --n) {
    s = (1 + s) * -x2 / ((2 * n) * (2 * n + 1));
    c = (1 + c) * -x2 / ((2 * n - 1) * (2 * n));
  }
  *sine = x * (1 + s);
  *cosine = 1 + c;
}

// Rodrigues: R = (1 - b t^2) I + a [r]_x + b r r^T with t = |r|, a = sin(t) / t, b = (1 - cos t) / t^2; da and db are
// derivatives with respect to t^2. Near zero all four are their series.
struct Rodrigues {
  double t2, a, b, da, db;
};

AC_HD Rodrigues kinematics_angle(const float* r) {
  Rodrigues one;
  double t2 = (double)r[0] * r[0] + (double)r[1] * r[1] + (double)r[2] * r[2], sine, cosine;
  one.t2 = t2;
  one.a = 1 - t2 / 6 + t2 * t2 / 120, one.da = -1.0 / 6 + t2 / 60;
  one.b = 0.5 - t2 / 24 + t2 * t2 / 720, one.db = -1.0 / 24 + t2 / 360;
  if (t2 < 1e-4) return one;
  double t = __builtin_sqrt(t2);
  kinematics_sine(t, &sine, &cosine);
  one.a = sine / t, one.b = (1 - cosine) / t2;
  one.da = (cosine - one.a) / (2 * t2), one.db = (one.a - 2 * one.b) / (2 * t2);
  return one;
}

AC_HD void kinematics_rotation(const float* r, double* matrix) {
  Rodrigues one = kinematics_angle(r);
  double x = r[0], y = r[1], z = r[2], cosine = 1 - one.b * one.t2;
  for (int i = 0; i < 3; ++i)
    for (int k = 0; k < 3; ++k) matrix[3 * i + k] = one.b * r[i] * r[k] + (i == k ? cosine : 0);
  matrix[1] -= one.a * z, matrix[2] += one.a * y, matrix[3] += one.a * z;
  matrix[5] -= one.a * x, matrix[6] -= one.a * y, matrix[7] += one.a * x;
}

AC_HD void kinematics_rotation_backward(const float* r, const double* grad, float* grad_r) {
  Rodrigues one = kinematics_angle(r);
  double turn[3] = {grad[7] - grad[5], grad[2] - grad[6], grad[3] - grad[1]};  // gradient of a r
  double along = 0, quadratic = 0, trace = grad[0] + grad[4] + grad[8];
  for (int i = 0; i < 3; ++i) {
    along += turn[i] * r[i];
    for (int k = 0; k < 3; ++k) quadratic += grad[3 * i + k] * r[i] * r[k];
  }
  double by_t2 = one.da * along + one.db * (quadratic - one.t2 * trace) - one.b * trace;
  for (int i = 0; i < 3; ++i) {
    double total = one.a * turn[i] + 2 * by_t2 * r[i];
    for (int k = 0; k < 3; ++k) total += one.b * (grad[3 * i + k] + grad[3 * k + i]) * r[k];
    grad_r[i] = (float)total;
  }
}

// Transforms of one body [count, 4, 4] from its pose and rest joints [count, 3], with A_j = A_parent L_j: L_j turns by R_j
// about J_j, and a root's parent shifts by transl.
AC_HD void kinematics_chain(const float* pose, const float* joints, const i32* parents, i32 count, const float* transl,
                            float* transforms) {
  for (i32 j = 0; j < count; ++j) {
    double turn[9], shift[3];
    kinematics_rotation(pose + 3 * j, turn);
    const float *rest = joints + 3 * j, *parent = parents[j] < 0 ? 0 : transforms + 16 * parents[j];
    float* own = transforms + 16 * j;
    for (int i = 0; i < 3; ++i)
      shift[i] = rest[i] - (turn[3 * i] * rest[0] + turn[3 * i + 1] * rest[1] + turn[3 * i + 2] * rest[2]);
    for (int i = 0; i < 3; ++i) {
      double row[4] = {i == 0 ? 1.0 : 0, i == 1 ? 1.0 : 0, i == 2 ? 1.0 : 0, transl[i]};
      for (int k = 0; k < 4; ++k) row[k] = parent ? parent[4 * i + k] : row[k];
      for (int k = 0; k < 3; ++k)
        own[4 * i + k] = (float)(row[0] * turn[k] + row[1] * turn[3 + k] + row[2] * turn[6 + k]);
      own[4 * i + 3] = (float)(row[0] * shift[0] + row[1] * shift[1] + row[2] * shift[2] + row[3]);
    }
    own[12] = own[13] = own[14] = 0, own[15] = 1;
  }
}

// grad: of the transforms, [count, 4, 4]; it is added to, from the leaves to the roots. grad_transl is added to too.
AC_HD void kinematics_chain_backward(const float* pose, const float* joints, const i32* parents, i32 count,
                                     const float* transforms, float* grad, float* grad_pose, float* grad_joints,
                                     float* grad_transl) {
  for (i32 j = count - 1; j >= 0; --j) {
    double turn[9], grad_turn[9], shift[3], grad_shift[3];
    kinematics_rotation(pose + 3 * j, turn);
    const float *rest = joints + 3 * j, *own = grad + 16 * j;
    const float* parent = parents[j] < 0 ? 0 : transforms + 16 * parents[j];
    float* above = parents[j] < 0 ? 0 : grad + 16 * parents[j];
    for (int i = 0; i < 3; ++i)
      shift[i] = rest[i] - (turn[3 * i] * rest[0] + turn[3 * i + 1] * rest[1] + turn[3 * i + 2] * rest[2]);
    for (int i = 0; i < 3; ++i) {  // of L = parent^T grad
      double column[3];
      for (int k = 0; k < 3; ++k) column[k] = parent ? parent[4 * k + i] : k == i ? 1.0 : 0;
      for (int k = 0; k < 3; ++k)
        grad_turn[3 * i + k] = column[0] * own[k] + column[1] * own[4 + k] + column[2] * own[8 + k];
      grad_shift[i] = column[0] * own[3] + column[1] * own[7] + column[2] * own[11];
    }
    for (int i = 0; i < 3; ++i) {  // of the parent = grad L^T
      if (!above) {
        grad_transl[i] += own[4 * i + 3];
        continue;
      }
      for (int k = 0; k < 3; ++k)
        above[4 * i + k] += (float)(own[4 * i] * turn[3 * k] + own[4 * i + 1] * turn[3 * k + 1] +
                                    own[4 * i + 2] * turn[3 * k + 2] + own[4 * i + 3] * shift[k]);
      above[4 * i + 3] += own[4 * i + 3];
    }
    for (int i = 0; i < 3; ++i) {
      double turned = turn[i] * grad_shift[0] + turn[3 + i] * grad_shift[1] + turn[6 + i] * grad_shift[2];
      grad_joints[3 * j + i] = (float)(grad_shift[i] - turned);
      for (int k = 0; k < 3; ++k) grad_turn[3 * i + k] -= grad_shift[i] * rest[k];
    }
    kinematics_rotation_backward(pose + 3 * j, grad_turn, grad_pose + 3 * j);
  }
}
