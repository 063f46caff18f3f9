// CUDA shells of compositing: a thread a sample; the first of each run does the whole run where order matters.
#include "composite.h"

#define AC_SAMPLE(i, count)                                 \
  i64 i = blockIdx.x * (i64)blockDim.x + threadIdx.x; \
  if (i >= count) return;

extern "C" __global__ void composite_opacity(const float* depth, float* opacity, i64 count) {
  AC_SAMPLE(i, count)
  opacity[i] = -ac_expm1(-depth[i]);
}

extern "C" __global__ void composite_weights(const i64* ray, i64 count, const float* before, float stop, float* weight) {
  AC_SAMPLE(i, count)
  if (composite_starts(ray, i)) composite_weigh(before, stop, i, composite_run(ray, i, count), weight);
}

extern "C" __global__ void composite_weights_backward(const i64* ray, i64 count, const float* depth, const float* before,
                                                      const float* weight, const float* grad, float stop,
                                                      float* grad_depth) {
  AC_SAMPLE(i, count)
  if (composite_starts(ray, i))
    composite_weigh_backward(depth, before, weight, grad, stop, i, composite_run(ray, i, count), grad_depth);
}

extern "C" __global__ void composite_sums(const i64* ray, i64 count, const float* weight, const float* value,
                                          i64 channels, i64 rays, float* out) {
  AC_SAMPLE(i, count)
  if (composite_starts(ray, i) && (u64)ray[i] < (u64)rays)
    composite_sum(weight, value, channels, i, composite_run(ray, i, count), out + ray[i] * channels);
}

extern "C" __global__ void composite_sums_backward(const i64* ray, i64 count, const float* weight, const float* value,
                                                   const float* grad, i64 channels, i64 rays, float* grad_weight,
                                                   float* grad_value) {
  AC_SAMPLE(i, count)
  if ((u64)ray[i] >= (u64)rays) return;
  const float* g = grad + ray[i] * channels;
  float total = 0;
  for (i64 c = 0; c < channels; ++c) {
    total += value ? g[c] * value[i * channels + c] : g[c];
    if (grad_value) grad_value[i * channels + c] = weight[i] * g[c];
  }
  if (grad_weight) grad_weight[i] = total;
}
