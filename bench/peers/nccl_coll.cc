// nccl_coll: NCCL alone, as `make gpu-bench` puts it beside ours. All ranks share one GPU, which wants NCCL 2.30 and
// NCCL_MULTI_RANK_GPU_ENABLE=1; the library is found at run time (REGROUP_NCCL_LIBRARY).
//   nccl_coll all_reduce RANKS MIB ROUNDS   ranks are threads; time of a round: until the last one's stream has ended
//   nccl_coll recovery RANKS MIB KILLS      ranks are processes, of which the last is killed within an all-reduce; the others
//     are told at once, abort, make a communicator without it and all-reduce again: time from the kill to the last result
// One line of JSON on stdout. Whatever hangs ends with the program, after ten minutes.
#include <cuda_runtime_api.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <barrier>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include "transport/nccl/api.h"

using namespace regroup;

namespace {

constexpr int kMostRanks = 32, kWarmUp = 5;
constexpr unsigned kBound_s = 600;

std::int64_t now_ns() { return std::chrono::steady_clock::now().time_since_epoch().count(); }

[[noreturn]] void give_up(const std::string& what) {
  std::fprintf(stderr, "nccl_coll: error: %s\n", what.c_str());
  std::_Exit(1);
}

void need(cudaError_t error, const char* call) {
  if (error != cudaSuccess) give_up(std::string(call) + ": " + cudaGetErrorString(error));
}
void need(int answer, const char* call) {
  if (answer != nccl::kSuccess) give_up(std::string(call) + ": " + nccl::answer_text(answer));
}

nccl::LibraryPtr library() {
  const char* file = std::getenv("REGROUP_NCCL_LIBRARY");
  Result<nccl::LibraryPtr> loaded = nccl::load(file != nullptr ? file : "");
  if (!loaded) give_up(loaded.error().detail);
  return *loaded;
}

// One rank: its stream, its buffers, its communicator.
class Member {
 public:
  Member(nccl::LibraryPtr nccl, std::size_t bytes) : nccl_(std::move(nccl)), count_(bytes / sizeof(float)) {
    need(cudaSetDevice(0), "cudaSetDevice");
    need(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreate");
    for (void** at : {&in_, &out_}) {
      need(cudaMalloc(at, bytes), "cudaMalloc");
      need(cudaMemsetAsync(*at, 0, bytes, stream_), "cudaMemset");
    }
  }
  void join(const nccl::UniqueId& id, int ranks, int rank) {
    nccl::Config config;
    config.blocking = 1;
    need(nccl_->call.CommInitRankConfig(&comm_, ranks, id, rank, &config), "ncclCommInitRankConfig");
  }
  void all_reduce() {
    need(nccl_->call.AllReduce(in_, out_, count_, nccl::kFloat32, nccl::kSum, comm_, stream_), "ncclAllReduce");
  }
  bool done() {
    const cudaError_t state = cudaStreamQuery(stream_);
    if (state != cudaErrorNotReady) need(state, "cudaStreamQuery");
    return state == cudaSuccess;
  }
  void abort() { need(nccl_->call.CommAbort(comm_), "ncclCommAbort"); }

 private:
  nccl::LibraryPtr nccl_;
  std::size_t count_;
  cudaStream_t stream_ = nullptr;
  void *in_ = nullptr, *out_ = nullptr;
  nccl::Comm comm_ = nullptr;
};

void print(const char* what, const nccl::LibraryPtr& nccl, int ranks, std::size_t bytes, std::vector<double> ms) {
  std::sort(ms.begin(), ms.end());
  std::printf(R"({"what": "%s", "nccl": "%s", "ranks": %d, "bytes": %zu, "n": %zu, "ms_p50": %.3f, "ms_min": %.3f, "ms_max": %.3f})" "\n", what,
              nccl::version_text(nccl->version).c_str(), ranks, bytes, ms.size(), ms[ms.size() / 2], ms.front(), ms.back());
}

void all_reduce(const nccl::LibraryPtr& nccl, int ranks, std::size_t bytes, int rounds) {
  nccl::UniqueId id;
  need(nccl->call.GetUniqueId(&id), "ncclGetUniqueId");
  std::barrier<> together(ranks);
  std::vector<std::vector<double>> ms(static_cast<std::size_t>(ranks));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank)
    threads.emplace_back([&, rank] {
      Member member(nccl, bytes);
      member.join(id, ranks, rank);
      for (int round = -kWarmUp; round < rounds; ++round) {
        together.arrive_and_wait();
        const std::int64_t begin = now_ns();
        member.all_reduce();
        while (!member.done()) {
        }
        if (round >= 0) ms[static_cast<std::size_t>(rank)].push_back(static_cast<double>(now_ns() - begin) / 1e6);
      }
      together.arrive_and_wait();
      member.abort();
    });
  for (std::thread& t : threads) t.join();
  std::vector<double> last = ms[0];
  for (const auto& one : ms)
    for (std::size_t i = 0; i < last.size(); ++i) last[i] = std::max(last[i], one[i]);
  print("all_reduce", nccl, ranks, bytes, last);
}

// What parent and ranks share.
struct Page {
  nccl::UniqueId ids[2];
  std::atomic<int> made{0};  // of these
  std::atomic<int> killed{0};
  std::atomic<int> steps[kMostRanks] = {};
  std::atomic<std::int64_t> result_ns[kMostRanks] = {};
};

void wait_for(const auto& holds) {
  while (!holds()) ::usleep(20);
}

[[noreturn]] void run_rank(const nccl::LibraryPtr& nccl, Page& page, int ranks, int rank, std::size_t bytes) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  const auto join = [&](Member& member, int attempt, int of) {
    if (rank == 0) {
      need(nccl->call.GetUniqueId(&page.ids[attempt]), "ncclGetUniqueId");
      page.made.store(attempt + 1);
    }
    wait_for([&] { return page.made.load() > attempt; });
    member.join(page.ids[attempt], of, rank);
  };
  Member member(nccl, bytes);
  join(member, 0, ranks);
  for (;;) {
    member.all_reduce();
    while (!member.done() && page.killed.load() == 0) {
    }
    if (page.killed.load() != 0) break;
    page.steps[rank].fetch_add(1);
  }
  member.abort();
  join(member, 1, ranks - 1);
  member.all_reduce();
  while (!member.done()) {
  }
  page.result_ns[rank].store(now_ns());
  std::_Exit(0);
}

void recovery(const nccl::LibraryPtr& nccl, int ranks, std::size_t bytes, int kills) {
  std::vector<double> ms;
  for (int k = 0; k < kills; ++k) {
    void* at = ::mmap(nullptr, sizeof(Page), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) give_up("mmap");
    Page& page = *new (at) Page;
    std::vector<pid_t> pids;
    for (int rank = 0; rank < ranks; ++rank) {
      pids.push_back(::fork());
      if (pids.back() < 0) give_up("fork");
      if (pids.back() == 0) run_rank(nccl, page, ranks, rank, bytes);
    }
    wait_for([&] { return std::all_of(page.steps, page.steps + ranks, [](auto& s) { return s.load() >= kWarmUp; }); });
    ::usleep(static_cast<useconds_t>(1000 + k * 777 % 5000));
    const std::int64_t begin = now_ns();
    ::kill(pids.back(), SIGKILL);
    page.killed.store(1);
    std::int64_t last = begin;
    for (int rank = 0; rank < ranks; ++rank) {
      int status = 0;
      ::waitpid(pids[static_cast<std::size_t>(rank)], &status, 0);
      if (rank + 1 < ranks && status != 0) give_up("rank " + std::to_string(rank) + " ended with status " + std::to_string(status));
      last = std::max(last, page.result_ns[rank].load());
    }
    ms.push_back(static_cast<double>(last - begin) / 1e6);
    ::munmap(at, sizeof(Page));
  }
  print("recovery", nccl, ranks, bytes, ms);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc == 5 ? argv[1] : "";
  const int ranks = argc == 5 ? std::atoi(argv[2]) : 0, mib = argc == 5 ? std::atoi(argv[3]) : 0, n = argc == 5 ? std::atoi(argv[4]) : 0;
  if ((what != "all_reduce" && what != "recovery") || ranks < 2 || ranks > kMostRanks || mib < 1 || n < 1) {
    std::fprintf(stderr, "usage: nccl_coll all_reduce|recovery RANKS MIB TIMES\n");
    return 2;
  }
  ::alarm(kBound_s);
  const nccl::LibraryPtr nccl = library();  // no call that needs the GPU: ranks that are processes make theirs after the fork
  if (nccl->takes_host) give_up("that is a stand-in");
  const std::size_t bytes = static_cast<std::size_t>(mib) << 20;
  what == "all_reduce" ? all_reduce(nccl, ranks, bytes, n) : recovery(nccl, ranks, bytes, n);
}
