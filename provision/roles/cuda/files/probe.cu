// Adds numbers on the card and checks the sums on the CPU. Exit code 0: correct; 1: wrong; 3: the runtime found no card.
#include <cstdio>
#include <cuda_runtime.h>

__global__ void add(const int *left, const int *right, int *sum, int length) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < length) sum[i] = left[i] + right[i];
}

static int answer(cudaError_t error, int code) {
  std::printf("%s\n", cudaGetErrorString(error));
  return code;
}

int main() {
  const int length = 1000;
  int left[length], right[length], sum[length] = {0};
  for (int i = 0; i < length; ++i) {
    left[i] = i;
    right[i] = 7 * i;
  }
  int count = 0;
  cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess || count == 0) return answer(error, 3);
  int *on_card = nullptr;
  const size_t bytes = sizeof left;
  if ((error = cudaMalloc(reinterpret_cast<void **>(&on_card), 3 * bytes)) != cudaSuccess) return answer(error, 1);
  cudaMemcpy(on_card, left, bytes, cudaMemcpyHostToDevice);
  cudaMemcpy(on_card + length, right, bytes, cudaMemcpyHostToDevice);
  add<<<(length + 127) / 128, 128>>>(on_card, on_card + length, on_card + 2 * length, length);
  if ((error = cudaGetLastError()) != cudaSuccess) return answer(error, 1);
  if ((error = cudaMemcpy(sum, on_card + 2 * length, bytes, cudaMemcpyDeviceToHost)) != cudaSuccess) return answer(error, 1);
  for (int i = 0; i < length; ++i) {
    if (sum[i] != left[i] + right[i]) {
      std::printf("%d + %d gave %d\n", left[i], right[i], sum[i]);
      return 1;
    }
  }
  std::printf("%d sums are right\n", length);
  return 0;
}
