// CUDA's words for a C++ compiler, so that a .cu file becomes a library for the CPU: the threads of a block run one after
// the other, or, where they read each other's values, all at once.
#pragma once
#include <cmath>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <thread>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#define __device__
#define __global__

struct Place {
  unsigned x, y, z;
};
static thread_local Place threadIdx, blockIdx;
static Place blockDim, gridDim;
static std::mutex atomic;

template <class T, class V>
T atomicAdd(T* at, V value) {
  std::lock_guard<std::mutex> own(atomic);
  T before = *at;
  *at += (T)value;
  return before;
}
template <class T, class V>
T atomicMax(T* at, V value) {
  std::lock_guard<std::mutex> own(atomic);
  T before = *at;
  if ((T)value > before) *at = (T)value;
  return before;
}
static inline unsigned __float_as_uint(float value) {
  unsigned bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}
static inline float __uint_as_float(unsigned bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static struct Meeting {  // of all threads of a warp
  std::mutex door;
  std::condition_variable all;
  int awaited = 0, here = 0;
  long round = 0;
  float said[32];

  void meet() {
    std::unique_lock<std::mutex> own(door);
    long mine = round;
    if (++here == awaited) {
      here = 0, ++round;
      all.notify_all();
    } else
      all.wait(own, [&] { return round != mine; });
  }
} meeting;

static inline float __shfl_down_sync(unsigned, float value, int lanes) {
  unsigned lane = threadIdx.x;
  meeting.said[lane] = value;
  meeting.meet();
  float other = lane + lanes < 32 ? meeting.said[lane + lanes] : value;
  meeting.meet();
  return other;
}

template <class... A, size_t... I>
void one_thread(void (*kernel)(A...), void** given, std::index_sequence<I...>) {
  kernel(*(std::remove_const_t<A>*)given[I]...);
}

// given: the address of each argument's bytes, as cuLaunchKernel takes them. together: threads read each other's values.
template <class... A>
void run_grid(void (*kernel)(A...), void** given, const unsigned* sides, bool together) {
  gridDim = {sides[0], sides[1], sides[2]}, blockDim = {sides[3], sides[4], sides[5]};
  auto indices = std::index_sequence_for<A...>();
  for (unsigned z = 0; z < gridDim.z; ++z)
    for (unsigned y = 0; y < gridDim.y; ++y)
      for (unsigned x = 0; x < gridDim.x; ++x) {
        std::vector<std::thread> threads;
        meeting.awaited = blockDim.x * blockDim.y * blockDim.z;
        for (unsigned k = 0; k < blockDim.z; ++k)
          for (unsigned j = 0; j < blockDim.y; ++j)
            for (unsigned i = 0; i < blockDim.x; ++i) {
              auto work = [=] {
                blockIdx = {x, y, z}, threadIdx = {i, j, k};
                one_thread(kernel, given, indices);
              };
              if (together)
                threads.emplace_back(work);
              else
                work();
            }
        for (auto& thread : threads) thread.join();
      }
}
