// CPU shells of compositing. A range of samples stands for the runs that start in it, which may end behind it.
#include "composite.h"

template <class Work>
static void runs(const i64* ray, i64 count, i64 begin, i64 end, Work work) {
  i64 i = begin;
  while (i < end && !composite_starts(ray, i)) ++i;
  while (i < end) {
    i64 next = composite_run(ray, i, count);
    work(i, next);
    i = next;
  }
}

// 1 - exp(-x): a range is of samples, apart from runs, as it becomes vector instructions.
AC_API void composite_opacity(const float* depth, float* opacity, i64 begin, i64 end) {
  for (i64 i = begin; i < end; ++i) opacity[i] = -ac_expm1(-depth[i]);
}

AC_API void composite_weights(const i64* ray, i64 count, const float* before, float stop, float* weight, i64 begin,
                              i64 end) {
  runs(ray, count, begin, end, [=](i64 a, i64 b) { composite_weigh(before, stop, a, b, weight); });
}

AC_API void composite_weights_backward(const i64* ray, i64 count, const float* depth, const float* before,
                                       const float* weight, const float* grad, float stop, float* grad_depth, i64 begin,
                                       i64 end) {
  runs(ray, count, begin, end, [=](i64 a, i64 b) {
    composite_weigh_backward(depth, before, weight, grad, stop, a, b, grad_depth);
  });
}

AC_API void composite_sums(const i64* ray, i64 count, const float* weight, const float* value, i64 channels, i64 rays,
                           float* out, i64 begin, i64 end) {
  runs(ray, count, begin, end, [=](i64 a, i64 b) {
    if ((u64)ray[a] < (u64)rays) composite_sum(weight, value, channels, a, b, out + ray[a] * channels);
  });
}

// Gradients of weights and of values (each may be null) from that of the sums, sample by sample.
AC_API void composite_sums_backward(const i64* ray, const float* weight, const float* value, const float* grad,
                                    i64 channels, i64 rays, float* grad_weight, float* grad_value, i64 begin, i64 end) {
  for (i64 i = begin; i < end; ++i) {
    if ((u64)ray[i] >= (u64)rays) continue;
    const float* g = grad + ray[i] * channels;
    float total = 0;
    for (i64 c = 0; c < channels; ++c) {
      total += value ? g[c] * value[i * channels + c] : g[c];
      if (grad_value) grad_value[i * channels + c] = weight[i] * g[c];
    }
    if (grad_weight) grad_weight[i] = total;
  }
}
