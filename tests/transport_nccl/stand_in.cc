// A stand-in for libnccl.so.2 over host memory and streams of the host device, for tests: the functions that
// transport/nccl loads, non-blocking communicators only, and every misuse that it can see ends the process. Told to
// misbehave: stand_in.h.
#include "tests/transport_nccl/stand_in.h"

#include <cstdio>
#include <memory>
#include <set>

#include "base/clock.h"
#include "kernels/device/host_device.h"
#include "kernels/kernels.h"
#include "tests/transport_nccl/stand_in_world.h"
#include "transport/nccl/api.h"

#define STAND_IN_API extern "C" __attribute__((visibility("default")))

using namespace regroup;
using namespace regroup::nccl;

namespace {

// Not a global: groups that load this at once are not seen to wait for each other by TSan, which does not know dlopen.
stand_in::Orders& orders() {
  static stand_in::Orders all;
  return all;
}

[[noreturn]] void misuse(const char* what) {
  std::fprintf(stderr, "stand-in for NCCL: misused: %s\n", what);
  std::abort();
}

// What an order makes of a call; nullopt: nothing.
std::optional<int> ordered(const char* point, int rank, std::int64_t* slow_until = nullptr) {
  const auto rule = orders().meet(point, rank);
  if (!rule) return std::nullopt;
  if (rule->action == "hang") orders().hang();
  if (rule->action == "slow" && slow_until != nullptr) *slow_until = (now() + Duration::from_ms(rule->value)).ns;
  if (rule->action == "fail") return rule->value;
  return std::nullopt;
}

struct Impl : std::enable_shared_from_this<Impl> {
  Impl(const std::string& n, int r, int count) : name(n), rank(r), ranks(count), world(n, r, count) {}
  const std::string name;
  const int rank, ranks;
  stand_in::World world;
  std::atomic<bool> stop{false};  // aborted or revoked
  std::atomic<bool> revoked{false};
  std::atomic<int> error{kSuccess};
  std::atomic<int> running{0};
  std::atomic<std::int64_t> busy_until{0};
  std::atomic<bool> fresh{false};  // the next question is answered with ncclInProgress
  int shrinks = 0;
  std::mutex mutex;
  std::shared_ptr<Impl> child;  // being made; told through child_at
  Comm* child_at = nullptr;

  void quiesce() {
    stop.store(true);
    while (running.load() != 0) std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
};

struct Live {
  std::mutex mutex;
  std::set<Comm> all;
};
Live& live() {
  static Live handles;
  return handles;
}

Comm handle_of(std::shared_ptr<Impl> impl) {
  auto* handle = reinterpret_cast<Comm>(new std::shared_ptr<Impl>(std::move(impl)));
  std::lock_guard lock(live().mutex);
  live().all.insert(handle);
  return handle;
}

std::shared_ptr<Impl> impl_of(Comm comm, bool take = false) {
  std::lock_guard lock(live().mutex);
  if (live().all.count(comm) == 0) misuse("a communicator that is not there (any more)");
  auto* held = reinterpret_cast<std::shared_ptr<Impl>*>(comm);
  std::shared_ptr<Impl> impl = *held;
  if (take) live().all.erase(comm), delete held;
  return impl;
}

int state_of(Impl& c) {
  if (c.error.load() != kSuccess) return c.error.load();
  if (c.fresh.exchange(false)) return kInProgress;
  if (!c.world.whole() || now().ns < c.busy_until.load()) return kInProgress;
  return kSuccess;
}

constexpr DataType kTypes[] = {DataType::kI8,  DataType::kU8,  DataType::kI32, DataType::kU32, DataType::kI64,
                               DataType::kU64, DataType::kF16, DataType::kF32, DataType::kF64, DataType::kBF16};
constexpr ReduceOp kOps[] = {ReduceOp::kSum, ReduceOp::kProd, ReduceOp::kMax, ReduceOp::kMin};

enum class Kind { kAllReduce, kReduceScatter, kAllGather, kBroadcast };
struct Step {
  std::shared_ptr<Impl> comm;
  Kind kind;
  const std::byte* in;
  std::byte* out;
  std::size_t count;
  DataType type;
  ReduceOp op;
  int root;
};

void carry_out(const Step& s, bool wrong) {
  Impl& c = *s.comm;
  const std::size_t size = size_of(s.type), block = s.count * size;
  const std::size_t bytes = block * static_cast<std::size_t>(s.kind == Kind::kReduceScatter ? c.ranks : 1);
  const bool gives = s.kind != Kind::kBroadcast || c.rank == s.root;
  for (std::size_t at = 0; at < bytes; at += stand_in::kChunk) {
    const std::size_t n = std::min(stand_in::kChunk, bytes - at);
    const bool went_on = c.world.exchange(gives ? s.in + at : nullptr, n, c.stop, [&] {
      if (s.kind == Kind::kBroadcast) return void(std::memcpy(s.out + at, c.world.slot(s.root), n));
      if (s.kind == Kind::kAllGather) {
        for (int r = 0; r < c.ranks; ++r)
          std::memcpy(s.out + block * static_cast<std::size_t>(r) + at, c.world.slot(r), n);
        return;
      }
      const std::size_t mine = s.kind == Kind::kReduceScatter ? block * static_cast<std::size_t>(c.rank) : 0;
      const std::size_t from = std::max(at, mine), to = std::min(at + n, mine + block);
      if (from >= to) return;
      std::vector<const void*> sources;
      for (int r = 0; r < c.ranks; ++r) sources.push_back(c.world.slot(r) + (from - at));
      kernels::reduce(s.type, s.op, s.out + (from - mine), sources, (to - from) / size);
    });
    if (!went_on) return;
  }
  if (wrong && bytes != 0) s.out[0] ^= std::byte{1};
}

void step(void* argument) {
  const std::unique_ptr<Step> s(static_cast<Step*>(argument));
  Impl& c = *s->comm;
  ++c.running;
  const auto rule = orders().meet("kernel", c.rank);
  if (rule && rule->action == "hang")
    while (!c.stop.load()) std::this_thread::sleep_for(std::chrono::microseconds(100));
  if (rule && rule->action == "fail")
    c.error.store(rule->value);
  else
    carry_out(*s, rule && rule->action == "wrong");
  --c.running;
}

int collective(Comm comm, void* stream, Step s, int type, int op) {
  const std::shared_ptr<Impl> c = impl_of(comm);
  if (const auto answer = ordered("launch", c->rank)) return *answer;
  if (type < 0 || type > kBfloat16 || op < 0 || op > kMin || s.root < 0 || s.root >= c->ranks) return kInvalidArgument;
  if (c->stop.load() || c->revoked.load()) return kInvalidUsage;
  if (const int state = state_of(*c); state != kSuccess) return state == kInProgress ? kInvalidUsage : state;
  s.comm = c;
  s.type = kTypes[type];
  s.op = kOps[op];
  const auto* queue = static_cast<const device::HostQueue*>(stream);
  auto owned = std::make_unique<Step>(std::move(s));
  if (queue->push(queue->stream, step, owned.get()) != 0) return kUnhandledCudaError;
  (void)owned.release();
  c->fresh.store(true);
  return kInProgress;
}

}  // namespace

STAND_IN_API void regroup_nccl_stand_in(const char* text) { orders().set(text); }

STAND_IN_API int regroup_nccl_stand_in_count(const char* point) { return orders().count(point); }

STAND_IN_API int ncclGetVersion(int* version) {
  const auto rule = orders().meet("version");
  if (rule && rule->action == "hang") orders().hang();
  *version = rule && rule->value != 0 ? rule->value : 22902;
  return kSuccess;
}

STAND_IN_API int ncclGetUniqueId(UniqueId* id) {
  static std::atomic<unsigned> made{0};
  if (const auto answer = ordered("id", -1)) return *answer;
  std::memset(id->bytes, 0, sizeof id->bytes);
  std::snprintf(id->bytes, sizeof id->bytes, "/regroup-nccl-%d-%llx-%u", ::getpid(),
                static_cast<unsigned long long>(now().ns), made++);
  return kSuccess;
}

STAND_IN_API int ncclCommInitRankConfig(Comm* comm, int ranks, UniqueId id, int rank, Config* config) {
  *comm = nullptr;
  std::int64_t slow = 0;
  if (config == nullptr || config->blocking != 0 || config->magic != 0xcafebeef) misuse("a communicator that blocks");
  if (ranks < 1 || ranks > stand_in::kMostRanks || rank < 0 || rank >= ranks) return kInvalidArgument;
  if (const auto answer = ordered("init", rank, &slow)) return *answer;
  auto impl = std::make_shared<Impl>(id.bytes, rank, ranks);
  if (!impl->world.there()) return kSystemError;
  impl->busy_until.store(slow);
  *comm = handle_of(std::move(impl));
  return kInProgress;
}

STAND_IN_API int ncclCommGetAsyncError(Comm comm, int* answer) {
  const std::shared_ptr<Impl> c = impl_of(comm);
  std::lock_guard lock(c->mutex);
  *answer = state_of(*c);
  if (*answer != kInProgress && c->child) *c->child_at = handle_of(std::exchange(c->child, nullptr));
  return kSuccess;
}

STAND_IN_API int ncclCommAbort(Comm comm) {
  const std::shared_ptr<Impl> c = impl_of(comm);
  if (const auto answer = ordered("abort", c->rank)) return *answer;
  c->quiesce();
  (void)impl_of(comm, true);
  return kSuccess;
}

#ifndef STAND_IN_WITHOUT_REVOKE
STAND_IN_API int ncclCommRevoke(Comm comm, int flags) {
  const std::shared_ptr<Impl> c = impl_of(comm);
  if (const auto answer = ordered("revoke", c->rank)) return *answer;
  if (flags != 0 || c->revoked.load()) return kInvalidArgument;
  c->quiesce();
  c->revoked.store(true);
  c->fresh.store(true);
  return kInProgress;
}
#endif

#ifndef STAND_IN_WITHOUT_SHRINK
STAND_IN_API int ncclCommShrink(Comm comm, int* without, int count, Comm* child, Config* config, int flags) {
  const std::shared_ptr<Impl> c = impl_of(comm);
  std::int64_t slow = 0;
  if (config == nullptr || config->blocking != 0) misuse("a communicator that blocks");
  if (const auto answer = ordered("shrink", c->rank, &slow)) return *answer;
  if (count < 1 || count >= c->ranks) return kInvalidArgument;
  if (flags == kShrinkAbort)
    c->quiesce(), c->error.store(kSuccess);
  else if (c->running.load() != 0)
    misuse("a shrink beside collectives");
  int rank = c->rank;
  std::string name = c->name + "." + std::to_string(++c->shrinks);
  for (int i = 0; i < count; ++i) {
    if (without[i] == c->rank || without[i] < 0 || without[i] >= c->ranks) return kInvalidArgument;
    rank -= without[i] < c->rank;
    name += "-" + std::to_string(without[i]);
  }
  auto impl = std::make_shared<Impl>(name, rank, c->ranks - count);
  if (!impl->world.there()) return kSystemError;
  impl->busy_until.store(slow);
  std::lock_guard lock(c->mutex);
  c->child = std::move(impl);
  c->child_at = child;
  c->fresh.store(true);
  return kInProgress;
}
#endif

STAND_IN_API int ncclAllReduce(const void* in, void* out, std::size_t count, int type, int op, Comm comm,
                               void* stream) {
  return collective(
      comm, stream,
      {{}, Kind::kAllReduce, static_cast<const std::byte*>(in), static_cast<std::byte*>(out), count, {}, {}, 0}, type,
      op);
}
STAND_IN_API int ncclReduceScatter(const void* in, void* out, std::size_t count, int type, int op, Comm comm,
                                   void* stream) {
  return collective(
      comm, stream,
      {{}, Kind::kReduceScatter, static_cast<const std::byte*>(in), static_cast<std::byte*>(out), count, {}, {}, 0},
      type, op);
}
STAND_IN_API int ncclAllGather(const void* in, void* out, std::size_t count, int type, Comm comm, void* stream) {
  return collective(
      comm, stream,
      {{}, Kind::kAllGather, static_cast<const std::byte*>(in), static_cast<std::byte*>(out), count, {}, {}, 0}, type,
      0);
}
STAND_IN_API int ncclBroadcast(const void* in, void* out, std::size_t count, int type, int root, Comm comm,
                               void* stream) {
  return collective(
      comm, stream,
      {{}, Kind::kBroadcast, static_cast<const std::byte*>(in), static_cast<std::byte*>(out), count, {}, {}, root},
      type, 0);
}
