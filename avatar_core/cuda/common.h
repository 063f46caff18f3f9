// Shared by every kernel. Freestanding: no C++ library, no torch, no CUDA headers, so that g++, clang, zig, cl, nvcc and
// NVRTC all compile the same arithmetic.
#pragma once

#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
#define AC_HD __host__ __device__ __forceinline__
#elif defined(_MSC_VER)
#define AC_HD static __forceinline
#else
#define AC_HD static inline __attribute__((always_inline))
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
