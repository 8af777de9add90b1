// Library: the functions of NCCL that this room calls, found at run time. Our own declarations of a public interface; a
// test compares them with the real header where that is installed.
//
// Ownership: shared; the library is never unloaded, since a call into it may never return. Thread-safe.
// Code::kUnsupported names the library and what is wrong: not found, older than 2.27, a function that it lacks, no
// answer.
#pragma once

#include <cstddef>
#include <limits>
#include <memory>
#include <string>

#include "base/result.h"
#include "base/time.h"

namespace regroup::nccl {

inline constexpr int kOldestVersion = 22700;  // of the form 2 * 10000 + minor * 100 + patch
[[nodiscard]] std::string version_text(int version);
[[nodiscard]] std::string answer_text(int answer);  // "ncclRemoteError"

using Comm = struct CommOfNccl*;  // ncclComm_t
struct UniqueId {
  char bytes[128];
};

// ncclResult_t
enum Answer : int {
  kSuccess = 0,
  kUnhandledCudaError = 1,
  kSystemError = 2,
  kInternalError = 3,
  kInvalidArgument = 4,
  kInvalidUsage = 5,
  kRemoteError = 6,
  kInProgress = 7,
};

// The head of ncclConfig_t as of 2.27: later versions append, and go by `size` and `version`.
struct Config {
  static constexpr int kUnset = std::numeric_limits<int>::min();
  std::size_t size = sizeof(Config);
  unsigned int magic = 0xcafebeef;
  unsigned int version = kOldestVersion;
  int blocking = 0;  // never otherwise
  int cga_cluster_size = kUnset;
  int min_ctas = kUnset;
  int max_ctas = kUnset;
  const char* net_name = nullptr;
  int split_share = kUnset;
  int traffic_class = kUnset;
  const char* comm_name = nullptr;
  int collnet_enable = kUnset;
  int cta_policy = kUnset;
  int shrink_share = kUnset;
  int nvls_ctas = kUnset;
};

enum Type : int {
  kInt8,
  kUint8,
  kInt32,
  kUint32,
  kInt64,
  kUint64,
  kFloat16,
  kFloat32,
  kFloat64,
  kBfloat16
};                                                 // ncclDataType_t
enum Operation : int { kSum, kProd, kMax, kMin };  // ncclRedOp_t
inline constexpr int kShrinkDefault = 0, kShrinkAbort = 1, kRevokeDefault = 0;

// The one list of them: member of the table, and name in the library behind "nccl". A stream is a cudaStream_t.
#define REGROUP_NCCL_NEEDED(F)                                                                                   \
  F(GetVersion, int(int* version))                                                                               \
  F(GetUniqueId, int(UniqueId * id))                                                                             \
  F(CommInitRankConfig, int(Comm * comm, int ranks, UniqueId id, int rank, Config* config))                      \
  F(CommGetAsyncError, int(Comm comm, int* answer))                                                              \
  F(CommAbort, int(Comm comm))                                                                                   \
  F(CommShrink, int(Comm parent, int* without, int count, Comm* child, Config* config, int flags))               \
  F(AllReduce, int(const void* in, void* out, std::size_t count, int type, int op, Comm comm, void* stream))     \
  F(ReduceScatter, int(const void* in, void* out, std::size_t count, int type, int op, Comm comm, void* stream)) \
  F(AllGather, int(const void* in, void* out, std::size_t count, int type, Comm comm, void* stream))             \
  F(Broadcast, int(const void* in, void* out, std::size_t count, int type, int root, Comm comm, void* stream))
#define REGROUP_NCCL_OPTIONAL(F) F(CommRevoke, int(Comm comm, int flags))  // from 2.29 on

struct Functions {
#define REGROUP_NCCL_MEMBER(name, ...) \
  using name##Function = __VA_ARGS__;  \
  name##Function* name = nullptr;
  REGROUP_NCCL_NEEDED(REGROUP_NCCL_MEMBER)
  REGROUP_NCCL_OPTIONAL(REGROUP_NCCL_MEMBER)
#undef REGROUP_NCCL_MEMBER
};

struct Library {
  Functions call;
  int version = 0;
  std::string name;         // "NCCL 2.27.3 (libnccl.so.2)"
  bool takes_host = false;  // a stand-in, which works on host memory and streams of the host device: kHostMark is there
};
inline constexpr const char* kHostMark = "regroup_nccl_stand_in";
using LibraryPtr = std::shared_ptr<const Library>;

// `path`: a file or a name for the loader; empty: libnccl.so.2.
[[nodiscard]] Result<LibraryPtr> load(const std::string& path, Duration bound = Duration::from_s(10));

}  // namespace regroup::nccl
