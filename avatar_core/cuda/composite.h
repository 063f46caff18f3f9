// Emission and absorption along rays, on packed samples: samples of a ray lie side by side, a "run".
//
// With optical depth x_i = density * step, T_i = exp(-before - sum_{k<i} x_k): w_i = T_i (1 - exp(-x_i)) (Max 1995), and
// a ray's value is sum_i w_i v_i. A sample that light reaches with T_i < stop weighs nothing, nor do those behind it.
// Backward: dL/dx_j = g_j T_{j+1} - sum_{i>j} g_i w_i, from the back of the run to its front with T_j = T_{j+1} + w_j.
#pragma once
#include "common.h"

// One past the last sample of the run that starts at `i`.
AC_HD i64 composite_run(const i64* ray, i64 i, i64 count) {
  i64 end = i + 1;
  while (end < count && ray[end] == ray[i]) ++end;
  return end;
}

AC_HD bool composite_starts(const i64* ray, i64 i) { return i == 0 || ray[i] != ray[i - 1]; }

// opacity[i] = 1 - exp(-x_i) on entry, w_i on return. before: may be null.
AC_HD void composite_weigh(const float* before, float stop, i64 begin, i64 end, float* opacity) {
  float ahead = before ? before[begin] : 0.0f, light = ac_exp(-ahead);
  i64 i = begin;
  for (; i < end && !(light < stop); ++i) {
    float a = opacity[i];
    opacity[i] = light * a;
    light *= 1 - a;
  }
  for (; i < end; ++i) opacity[i] = 0;
}

// The gradient of the optical depths from that of the weights.
AC_HD void composite_weigh_backward(const float* depth, const float* before, const float* weight, const float* grad,
                                    float stop, i64 begin, i64 end, float* grad_depth) {
  float light = ac_exp(before ? -before[begin] : 0.0f);
  i64 last = begin;
  for (; last < end && !(light < stop); ++last) light *= 1 + ac_expm1(-depth[last]);
  for (i64 i = last; i < end; ++i) grad_depth[i] = 0;
  float behind = 0;
  for (i64 i = last - 1; i >= begin; --i) {
    grad_depth[i] = grad[i] * light - behind;
    behind += grad[i] * weight[i];
    light += weight[i];
  }
}

// out[channels] += sum over a run of w_i v_i; value may be null: v_i = 1, one channel.
AC_HD void composite_sum(const float* weight, const float* value, i64 channels, i64 begin, i64 end, float* out) {
  for (i64 i = begin; i < end; ++i)
    for (i64 c = 0; c < channels; ++c) out[c] += value ? weight[i] * value[i * channels + c] : weight[i];
}
