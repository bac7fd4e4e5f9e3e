// SPDX-License-Identifier: Apache-2.0
#include "fake_runtime.hpp"

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <samed/core/types.hpp>

using samed_test::fake;

using Work = std::vector<std::function<void()>>;

struct CUgraph_st {
    Work work;
};
struct CUgraphExec_st {
    Work work;
};
struct CUstream_st {
    int device;
    Work waiting;
    CUgraph_st* capture = nullptr;
    bool spoiled = false;  ///< the capture
};

namespace {

struct Owned {
    int device;
    std::size_t bytes;
    std::size_t* from;  ///< where they go back to
};

std::mutex guard;
std::map<void const*, Owned> owned;
std::size_t waiting = 0;  ///< work of all streams
thread_local int current = 0;
thread_local cudaError_t last = cudaSuccess;
thread_local CUstream_st* capturing = nullptr;
std::size_t nothing = 0;

cudaError_t said(cudaError_t status) {
    if (status != cudaSuccess) last = status;
    return status;
}

template <class T>
T* made(T* at, std::size_t bytes = 0, std::size_t* from = &nothing) {
    owned[at] = {current, bytes, from};
    *from -= bytes;
    ++fake.alive[current];
    return at;
}
/// @return whether it was there
bool gone(void const* at) {
    auto const o = owned.find(at);
    if (o == owned.end()) return false;
    *o->second.from += o->second.bytes;
    --fake.alive[o->second.device];
    owned.erase(o);
    return true;
}

cudaError_t allocate(void** at, std::size_t bytes, std::size_t& from) {
    std::lock_guard const lock(guard);
    if (capturing) {
        capturing->spoiled = true;
        return said(cudaErrorStreamCaptureUnsupported);
    }
    if (bytes > from) return said(cudaErrorMemoryAllocation);
    *at = made(std::aligned_alloc(256, (bytes + 255) / 256 * 256), bytes, &from);
    std::memset(*at, 0xff, bytes);  // NaN
    return cudaSuccess;
}
cudaError_t release(void* at) {
    std::lock_guard const lock(guard);
    if (waiting != 0) ++fake.freed_under_work;
    if (!gone(at)) return said(cudaErrorInvalidValue);
    std::free(at);
    return cudaSuccess;
}

/// Null is a stream too, that nobody made.
cudaStream_t or_default(cudaStream_t stream) {
    static CUstream_st common{0, {}};
    return stream ? stream : &common;
}

/// The lock is held.
void enqueue(cudaStream_t stream, std::function<void()> work) {
    fake.streams.insert(stream);
    if (stream->capture) return stream->capture->work.push_back(std::move(work));
    stream->waiting.push_back(std::move(work));
    ++waiting;
}

/// Ours in the place of one of cuBLASLt's opaque structs.
template <class T, class Opaque>
T read(Opaque const* at) {
    static_assert(sizeof(T) <= sizeof(Opaque) && std::is_trivially_copyable_v<T>);
    T t;
    std::memcpy(&t, at, sizeof t);
    return t;
}
template <class Opaque, class T>
cublasStatus_t write(Opaque* at, T const& t) {
    static_assert(sizeof(T) <= sizeof(Opaque) && std::is_trivially_copyable_v<T>);
    std::memcpy(at, &t, sizeof t);
    return CUBLAS_STATUS_SUCCESS;
}
template <class T>
bool take(T& to, void const* from, std::size_t bytes) {
    if (bytes == sizeof to) std::memcpy(&to, from, bytes);
    return bytes == sizeof to;
}

/// Column-major.
struct Layout {
    cudaDataType_t type;
    std::uint64_t rows, columns;
    std::int64_t stride;

    std::uint64_t at(std::uint64_t row, std::uint64_t column) const { return row + column * static_cast<std::uint64_t>(stride); }
};
struct Operation {
    std::int32_t transposed;
    std::uint32_t epilogue;
    void const* bias;
    cudaDataType_t bias_type;

    bool has_bias() const { return epilogue == CUBLASLT_EPILOGUE_BIAS; }
};
struct Preference {
    std::uint64_t workspace;
    std::uint32_t reduction, a, b, c, d;
};
/// What an algorithm was chosen for.
struct Algorithm {
    std::uint64_t workspace;
    std::uint32_t a, b, c, d, bias;
};

bool aligned(void const* at, std::uint32_t to) {
    return reinterpret_cast<std::uintptr_t>(at) % to == 0;
}

double load(void const* at, cudaDataType_t type, std::uint64_t i) {
    if (type == CUDA_R_32F) return double{static_cast<float const*>(at)[i]};
    if (type == CUDA_R_16F) return double{samed::to_f32(static_cast<samed::Half const*>(at)[i])};
    return double{samed::to_f32(static_cast<samed::BFloat16 const*>(at)[i])};
}
void store(double x, void* at, cudaDataType_t type, std::uint64_t i) {
    float const rounded = static_cast<float>(x);
    if (type == CUDA_R_32F)
        static_cast<float*>(at)[i] = rounded;
    else if (type == CUDA_R_16F)
        static_cast<samed::Half*>(at)[i] = samed::to_f16(rounded);
    else
        static_cast<samed::BFloat16*>(at)[i] = samed::to_bf16(rounded);
}

bool fit(Operation const& o, Layout const& a, Layout const& b, Layout const& c, Layout const& d) {
    for (Layout const* l : {&a, &b, &c, &d})
        if (l->stride < static_cast<std::int64_t>(l->rows) || l->type != d.type) return false;
    if (o.has_bias() && (!o.bias || o.bias_type != d.type)) return false;
    std::uint64_t const rows = o.transposed ? a.columns : a.rows, depth = o.transposed ? a.rows : a.columns;
    return b.rows == depth && d.rows == rows && d.columns == b.columns && c.rows == d.rows && c.columns == d.columns;
}

}  // namespace

namespace samed_test {
FakeRuntime fake;
}

// ---- The runtime ---------------------------------------------------------------------------------------------------------------------

extern "C" {

cudaError_t cudaGetDeviceCount(int* count) {
    *count = fake.devices;
    return said(fake.count);
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int) {
    *p = {};
    std::strcpy(p->name, "Fake");
    p->major = fake.major;
    p->totalGlobalMem = fake.memory;
    return said(fake.properties);
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
    *value = attribute == cudaDevAttrIntegrated && fake.integrated;
    return said(fake.attribute);
}
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes*, void const*) {
    return said(fake.code);
}
cudaError_t cudaFuncSetAttribute(void const*, cudaFuncAttribute attribute, int value) {
    if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return said(cudaErrorInvalidValue);
    ++fake.attributes;
    fake.shared_limit = value;
    return said(fake.attribute);
}
cudaError_t cudaGetDevice(int* device) {
    *device = current;
    return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
    if (device < 0 || device >= fake.devices) return said(cudaErrorInvalidDevice);
    current = device;
    return cudaSuccess;
}
cudaError_t cudaGetLastError() {
    return std::exchange(last, cudaSuccess);
}
char const* cudaGetErrorName(cudaError_t status) {
    thread_local std::string name;
    name = "error " + std::to_string(status);
    return name.c_str();
}
char const* cudaGetErrorString(cudaError_t) {
    return "as the test wants";
}
cudaError_t cudaDriverGetVersion(int* version) {
    *version = 12040;
    return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
    *version = 13000;
    return cudaSuccess;
}

cudaError_t cudaMalloc(void** at, std::size_t bytes) {
    return allocate(at, bytes, fake.memory);
}
cudaError_t cudaFree(void* at) {
    return release(at);
}
cudaError_t cudaHostAlloc(void** at, std::size_t bytes, unsigned flags) {
    if (flags != (cudaHostAllocPortable | cudaHostAllocMapped)) return said(cudaErrorInvalidValue);
    return allocate(at, bytes, fake.pinned_memory);
}
cudaError_t cudaFreeHost(void* at) {
    return release(at);
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
    if (fake.stream != cudaSuccess) return said(fake.stream);
    *stream = made(new CUstream_st{current, {}});
    return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    if (!gone(stream)) return said(cudaErrorInvalidResourceHandle);
    waiting -= stream->waiting.size();
    delete stream;
    return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    std::lock_guard const lock(guard);
    stream = or_default(stream);
    if (stream->capture) {
        stream->spoiled = true;
        return said(cudaErrorStreamCaptureUnsupported);
    }
    for (auto const& work : stream->waiting) work();
    waiting -= stream->waiting.size();
    stream->waiting.clear();
    return said(fake.wait);
}
cudaError_t cudaMemcpyAsync(void* to, void const* from, std::size_t bytes, cudaMemcpyKind, cudaStream_t stream) {
    std::lock_guard const lock(guard);
    stream = or_default(stream);
    if (fake.copy != cudaSuccess) return said(fake.copy);
    ++fake.copies;
    enqueue(stream, [=] { std::memcpy(to, from, bytes); });
    return cudaSuccess;
}
cudaError_t cudaLaunchKernel(void const* entry, dim3 grid, dim3 block, void** parameters, std::size_t shared, cudaStream_t stream) {
    std::lock_guard const lock(guard);
    stream = or_default(stream);
    if (fake.launch != cudaSuccess) return said(fake.launch);
    if (stream->device != current) return said(cudaErrorInvalidResourceHandle);
    ++fake.launches;
    fake.grid = grid;
    fake.block = block;
    fake.shared_bytes = shared;
    auto const kernel = fake.kernels.find(entry);
    enqueue(stream, kernel == fake.kernels.end() ? [] {} : kernel->second(parameters));
    return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
    if (fake.begin != cudaSuccess) return said(fake.begin);
    if (mode != cudaStreamCaptureModeThreadLocal) return said(cudaErrorInvalidValue);  // another thread's allocations would spoil it
    stream->capture = new CUgraph_st;
    stream->spoiled = false;
    capturing = stream;
    return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
    CUgraph_st* const captured = std::exchange(stream->capture, nullptr);
    capturing = nullptr;
    if (!stream->spoiled && fake.end == cudaSuccess) {
        *graph = made(captured);
        return cudaSuccess;
    }
    delete captured;
    *graph = nullptr;
    return said(stream->spoiled ? cudaErrorStreamCaptureInvalidated : fake.end);
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
    if (fake.instantiate != cudaSuccess) return said(fake.instantiate);
    ++fake.recordings;
    *executable = made(new CUgraphExec_st{graph->work});
    return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
    std::lock_guard const lock(guard);
    stream = or_default(stream);
    if (fake.replay != cudaSuccess) return said(fake.replay);
    if (stream->device != current) return said(cudaErrorInvalidResourceHandle);
    ++fake.replays;
    for (auto const& work : executable->work) enqueue(stream, work);
    return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    if (!gone(graph)) return said(cudaErrorInvalidValue);
    delete graph;
    return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
    if (!gone(executable)) return said(cudaErrorInvalidValue);
    delete executable;
    return cudaSuccess;
}

// ---- What the code calls that nvcc writes for the host: __global__ functions register here, their stubs are never called ----------------

void** __cudaRegisterFatBinary(void*) {
    return nullptr;
}
void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void**) {}
void __cudaRegisterFunction(void**, char const*, char*, char const*, int, uint3*, uint3*, dim3*, dim3*, int*) {}
void __cudaRegisterVar(void**, char*, char*, char const*, int, std::size_t, int, int) {}
char __cudaInitModule(void**) {
    return 0;
}
unsigned __cudaPushCallConfiguration(dim3, dim3, std::size_t, CUstream_st*) {
    std::abort();
}
cudaError_t __cudaPopCallConfiguration(dim3*, dim3*, std::size_t*, void*) {
    std::abort();
}
cudaError_t __cudaGetKernel(void**, void const*) {
    std::abort();
}
cudaError_t __cudaLaunchKernel(void*, dim3, dim3, void**, std::size_t, cudaStream_t) {
    std::abort();
}

// ---- cuBLASLt ------------------------------------------------------------------------------------------------------------------------

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
    if (fake.create == CUBLAS_STATUS_SUCCESS) *handle = static_cast<cublasLtHandle_t>(made(std::malloc(1)));
    return fake.create;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
    if (!gone(handle)) return CUBLAS_STATUS_INVALID_VALUE;
    std::free(handle);
    return CUBLAS_STATUS_SUCCESS;
}
char const* cublasLtGetStatusName(cublasStatus_t) {
    return "as the test wants";
}
cublasStatus_t cublasLtMatrixLayoutInit_internal(cublasLtMatrixLayout_t at, std::size_t, cudaDataType type, std::uint64_t rows,
                                                 std::uint64_t columns, std::int64_t stride) {
    return write(at, Layout{type, rows, columns, stride});
}
cublasStatus_t cublasLtMatmulDescInit_internal(cublasLtMatmulDesc_t at, std::size_t, cublasComputeType_t compute, cudaDataType_t scale) {
    if (compute != CUBLAS_COMPUTE_32F || scale != CUDA_R_32F) return CUBLAS_STATUS_INVALID_VALUE;
    return write(at, Operation{CUBLAS_OP_N, CUBLASLT_EPILOGUE_DEFAULT, nullptr, CUDA_R_32F});
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t at, cublasLtMatmulDescAttributes_t attribute, void const* value,
                                              std::size_t bytes) {
    auto operation = read<Operation>(at);
    bool good = false;
    if (attribute == CUBLASLT_MATMUL_DESC_TRANSA) good = take(operation.transposed, value, bytes);
    if (attribute == CUBLASLT_MATMUL_DESC_EPILOGUE) good = take(operation.epilogue, value, bytes);
    if (attribute == CUBLASLT_MATMUL_DESC_BIAS_POINTER) good = take(operation.bias, value, bytes);
    if (attribute == CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE) good = take(operation.bias_type, value, bytes);
    return good ? write(at, operation) : CUBLAS_STATUS_INVALID_VALUE;
}
cublasStatus_t cublasLtMatmulPreferenceInit_internal(cublasLtMatmulPreference_t at, std::size_t) {
    return write(at, Preference{0, CUBLASLT_REDUCTION_SCHEME_MASK, 256, 256, 256, 256});
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t at, cublasLtMatmulPreferenceAttributes_t attribute,
                                                    void const* value, std::size_t bytes) {
    auto wanted = read<Preference>(at);
    bool good = false;
    if (attribute == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES) good = take(wanted.workspace, value, bytes);
    if (attribute == CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK) good = take(wanted.reduction, value, bytes);
    if (attribute == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES) good = take(wanted.a, value, bytes);
    if (attribute == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES) good = take(wanted.b, value, bytes);
    if (attribute == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES) good = take(wanted.c, value, bytes);
    if (attribute == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES) good = take(wanted.d, value, bytes);
    return good ? write(at, wanted) : CUBLAS_STATUS_INVALID_VALUE;
}

/// Chooses an algorithm that needs all the alignment that it was promised, and refuses sums that are not f32.
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t operation, cublasLtMatrixLayout_t a,
                                              cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int, cublasLtMatmulHeuristicResult_t answers[],
                                              int* count) {
    ++fake.heuristics;
    *count = 0;
    if (fake.heuristic != CUBLAS_STATUS_SUCCESS) return fake.heuristic;
    auto const o = read<Operation>(operation);
    auto const wanted = read<Preference>(preference);
    if (!fit(o, read<Layout>(a), read<Layout>(b), read<Layout>(c), read<Layout>(d))) return CUBLAS_STATUS_INVALID_VALUE;
    if (wanted.reduction != CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE) return CUBLAS_STATUS_INVALID_VALUE;
    auto const bias = reinterpret_cast<std::uintptr_t>(o.bias) | 256u;
    Algorithm const algorithm{wanted.workspace, wanted.a, wanted.b, wanted.c, wanted.d, static_cast<std::uint32_t>(bias & (~bias + 1))};
    *count = 1;
    answers[0].state = CUBLAS_STATUS_SUCCESS;
    return write(&answers[0].algo, algorithm);
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t operation, void const* alpha, void const* a, cublasLtMatrixLayout_t la,
                              void const* b, cublasLtMatrixLayout_t lb, void const* beta, void const* c, cublasLtMatrixLayout_t lc, void* d,
                              cublasLtMatrixLayout_t ld, cublasLtMatmulAlgo_t const* chosen, void* workspace, std::size_t workspace_bytes,
                              cudaStream_t stream) {
    std::lock_guard const lock(guard);
    if (fake.product != CUBLAS_STATUS_SUCCESS) return fake.product;
    auto const o = read<Operation>(operation);
    auto const A = read<Layout>(la), B = read<Layout>(lb), C = read<Layout>(lc), D = read<Layout>(ld);
    auto const algorithm = read<Algorithm>(chosen);
    bool good = fit(o, A, B, C, D) && workspace && workspace_bytes >= algorithm.workspace;
    good = good && aligned(a, algorithm.a) && aligned(b, algorithm.b) && aligned(c, algorithm.c) && aligned(d, algorithm.d);
    good = good && (!o.has_bias() || aligned(o.bias, algorithm.bias));
    if (!good) return CUBLAS_STATUS_EXECUTION_FAILED;

    ++fake.products;
    float const scale = *static_cast<float const*>(alpha), added = *static_cast<float const*>(beta);
    enqueue(stream, [=] {
        std::uint64_t const depth = o.transposed ? A.rows : A.columns;
        for (std::uint64_t j = 0; j < D.columns; ++j)
            for (std::uint64_t i = 0; i < D.rows; ++i) {
                double sum = 0;
                for (std::uint64_t k = 0; k < depth; ++k)
                    sum += load(a, A.type, o.transposed ? A.at(k, i) : A.at(i, k)) * load(b, B.type, B.at(k, j));
                sum *= scale;
                if (added != 0) sum += added * load(c, C.type, C.at(i, j));
                if (o.has_bias()) sum += load(o.bias, o.bias_type, i);
                store(sum, d, D.type, D.at(i, j));
            }
    });
    return CUBLAS_STATUS_SUCCESS;
}

}  // extern "C"
