// Shared by every kernel. Freestanding: no C++ library, no torch, no CUDA headers, so that g++, clang, zig, nvcc and
// NVRTC all compile the same arithmetic.
#pragma once

#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
#define AC_HD __host__ __device__ __forceinline__
#else
#define AC_HD static inline __attribute__((always_inline))
#endif

#if defined(__CUDACC_RTC__)
#define __builtin_sqrtf sqrtf  // NVRTC has no built-ins of C compilers
#define __builtin_sqrt sqrt
#endif

#if defined(_WIN32)
#define AC_API extern "C" __declspec(dllexport)
#else
#define AC_API extern "C" __attribute__((visibility("default")))
#endif

typedef long long i64;
typedef unsigned long long u64;
typedef unsigned int u32;
typedef int i32;

AC_HD float ac_min(float a, float b) { return a < b ? a : b; }
AC_HD float ac_max(float a, float b) { return a > b ? a : b; }
// NaN becomes 0.
AC_HD float ac_clamp01(float a) { return ac_min(ac_max(a, 0.0f), 1.0f); }

// e^x = 2^n (1 + part) with x = n ln 2 + r, |r| <= ln 2 / 2, part = e^r - 1: plain arithmetic, so that loops over it
// become vector instructions. Returns 2^n. NaN counts as -87.
AC_HD float ac_exp_parts(float x, float* part) {
  float bounded = ac_min(ac_max(x, -87.0f), 88.0f);
  float n = (float)(i32)(bounded * 1.44269504f + (bounded < 0 ? -0.5f : 0.5f));
  float r = bounded - n * 0.693145752f - n * 1.42860677e-6f;
  float p = 1.0f / 5040;
  p = p * r + 1.0f / 720, p = p * r + 1.0f / 120, p = p * r + 1.0f / 24, p = p * r + 1.0f / 6, p = p * r + 0.5f;
  *part = p * r * r + r;
  union {
    i32 bits;
    float value;
  } power = {((i32)n + 127) << 23};
  return power.value;
}
// Both keep NaN, and all digits where the result is small.
AC_HD float ac_expm1(float x) {
  float part, power = ac_exp_parts(x, &part);
  return x == x ? power * part + (power - 1) : x;
}
AC_HD float ac_exp(float x) {
  float part, power = ac_exp_parts(x, &part);
  return x == x ? power * part + power : x;
}
