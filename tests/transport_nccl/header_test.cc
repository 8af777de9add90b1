// Our declarations against nccl.h, where one is installed: the shape of every function, the values of what we pass, the
// layout of the configuration's head. The header wants names of CUDA's headers: cuda/ beside this file declares them.
#include <nccl.h>

#include <catch2/catch.hpp>
#include <cstddef>
#include <type_traits>

#include "transport/nccl/api.h"

namespace {

namespace ours = regroup::nccl;

// What a value looks like to a caller: pointers are one kind, enumerations are int, structures are their size.
template <class T>
using Shape = std::conditional_t<std::is_pointer_v<T>, void*, std::conditional_t<std::is_enum_v<T>, int, T>>;
template <class A, class B>
constexpr bool same_value() {
  if constexpr (std::is_class_v<A> || std::is_class_v<B>)
    return std::is_class_v<A> && std::is_class_v<B> && sizeof(A) == sizeof(B);
  else
    return std::is_same_v<Shape<A>, Shape<B>> && sizeof(A) == sizeof(B);
}
template <class A, class B>
struct SameFunction : std::false_type {};
template <class R, class... P, class S, class... Q>
struct SameFunction<R(P...), S(Q...)> {
  static constexpr bool value = [] {
    if constexpr (sizeof...(P) != sizeof...(Q))
      return false;
    else
      return same_value<R, S>() && (same_value<P, Q>() && ...);
  }();
};
#define REGROUP_NCCL_COMPARE(name, ...) \
  static_assert(SameFunction<ours::Functions::name##Function, decltype(::nccl##name)>::value, "nccl" #name);
REGROUP_NCCL_NEEDED(REGROUP_NCCL_COMPARE)
#if NCCL_VERSION_CODE >= 22900
REGROUP_NCCL_OPTIONAL(REGROUP_NCCL_COMPARE)
static_assert(ours::kRevokeDefault == NCCL_REVOKE_DEFAULT);
#endif

static_assert(sizeof(ours::UniqueId) == sizeof(ncclUniqueId) && alignof(ours::UniqueId) == alignof(ncclUniqueId));
#define REGROUP_NCCL_VALUE(mine, theirs) static_assert(static_cast<int>(ours::mine) == static_cast<int>(theirs), #theirs);
REGROUP_NCCL_VALUE(kSuccess, ncclSuccess)
REGROUP_NCCL_VALUE(kUnhandledCudaError, ncclUnhandledCudaError)
REGROUP_NCCL_VALUE(kSystemError, ncclSystemError)
REGROUP_NCCL_VALUE(kInternalError, ncclInternalError)
REGROUP_NCCL_VALUE(kInvalidArgument, ncclInvalidArgument)
REGROUP_NCCL_VALUE(kInvalidUsage, ncclInvalidUsage)
REGROUP_NCCL_VALUE(kRemoteError, ncclRemoteError)
REGROUP_NCCL_VALUE(kInProgress, ncclInProgress)
REGROUP_NCCL_VALUE(kInt8, ncclInt8)
REGROUP_NCCL_VALUE(kUint8, ncclUint8)
REGROUP_NCCL_VALUE(kInt32, ncclInt32)
REGROUP_NCCL_VALUE(kUint32, ncclUint32)
REGROUP_NCCL_VALUE(kInt64, ncclInt64)
REGROUP_NCCL_VALUE(kUint64, ncclUint64)
REGROUP_NCCL_VALUE(kFloat16, ncclFloat16)
REGROUP_NCCL_VALUE(kFloat32, ncclFloat32)
REGROUP_NCCL_VALUE(kFloat64, ncclFloat64)
REGROUP_NCCL_VALUE(kBfloat16, ncclBfloat16)
REGROUP_NCCL_VALUE(kSum, ncclSum)
REGROUP_NCCL_VALUE(kProd, ncclProd)
REGROUP_NCCL_VALUE(kMax, ncclMax)
REGROUP_NCCL_VALUE(kMin, ncclMin)
static_assert(ours::kShrinkDefault == NCCL_SHRINK_DEFAULT && ours::kShrinkAbort == NCCL_SHRINK_ABORT);
static_assert(ours::Config::kUnset == NCCL_CONFIG_UNDEF_INT);
#define REGROUP_NCCL_FIELD(mine, theirs)                                          \
  static_assert(offsetof(ours::Config, mine) == offsetof(ncclConfig_t, theirs) && \
                    sizeof(ours::Config::mine) == sizeof(ncclConfig_t::theirs),   \
                #theirs);
REGROUP_NCCL_FIELD(size, size)
REGROUP_NCCL_FIELD(magic, magic)
REGROUP_NCCL_FIELD(version, version)
REGROUP_NCCL_FIELD(blocking, blocking)
REGROUP_NCCL_FIELD(cga_cluster_size, cgaClusterSize)
REGROUP_NCCL_FIELD(min_ctas, minCTAs)
REGROUP_NCCL_FIELD(max_ctas, maxCTAs)
REGROUP_NCCL_FIELD(net_name, netName)
REGROUP_NCCL_FIELD(split_share, splitShare)
REGROUP_NCCL_FIELD(traffic_class, trafficClass)
REGROUP_NCCL_FIELD(comm_name, commName)
REGROUP_NCCL_FIELD(collnet_enable, collnetEnable)
REGROUP_NCCL_FIELD(cta_policy, CTAPolicy)
REGROUP_NCCL_FIELD(shrink_share, shrinkShare)
REGROUP_NCCL_FIELD(nvls_ctas, nvlsCTAs)
static_assert(sizeof(ours::Config) <= sizeof(ncclConfig_t));

}  // namespace

TEST_CASE("our declarations are those of the installed nccl.h, and a fresh configuration is that of its initializer") {
  const ncclConfig_t theirs = NCCL_CONFIG_INITIALIZER;
  const ours::Config mine;
  CHECK(mine.magic == theirs.magic);
  CHECK(mine.cga_cluster_size == theirs.cgaClusterSize);
  CHECK(mine.nvls_ctas == theirs.nvlsCTAs);
  CHECK(mine.net_name == theirs.netName);
  WARN("compared with nccl.h of " + ours::version_text(NCCL_VERSION_CODE));
}
