// Messages of c10d: send, recv, recv from anybody, and the monitored barrier, which is made of them.
#include "python/adapter/tensors.h"

namespace regroup::python {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::int64_t kBarrierTag = INT64_MIN / 2;

}  // namespace

WorkPtr RegroupBackend::message(Tensors& tensors, int rank, int tag, bool send) {
  check_open();
  const at::Tensor& tensor = one(tensors, send ? "send" : "recv");
  TORCH_CHECK_VALUE(tensor.is_contiguous(), "regroup: ", send ? "send" : "recv", ": the tensor must be contiguous");
  if (rank != kAnyRank) check_rank(rank, send ? "send" : "recv");
  TORCH_CHECK_VALUE(rank != rank_, "regroup: a message to oneself");
  auto m = std::make_shared<Message>();
  m->send = send;
  m->peer = rank;
  m->tag = tag;
  m->data = tensor.data_ptr();
  m->bytes = tensor.nbytes();
  m->hold = std::make_shared<at::Tensor>(tensor);
  Messages& all = *messages_;
  const auto type = send ? c10d::OpType::SEND : rank == kAnyRank ? c10d::OpType::RECVANYSOURCE : c10d::OpType::RECV;
  auto work = coalescing_ ? coalescing_
                          : make(type,
                                 send               ? "regroup:send"
                                 : rank == kAnyRank ? "regroup:recvAnySource"
                                                    : "regroup:recv",
                                 tensors, tensors, Millis(0), true);
  work->messages = messages_;
  work->parts.push_back(m);
  all.post(m);
  return work;
}
WorkPtr RegroupBackend::send(Tensors& tensors, int rank, int tag) { return message(tensors, rank, tag, true); }
WorkPtr RegroupBackend::recv(Tensors& tensors, int rank, int tag) { return message(tensors, rank, tag, false); }
WorkPtr RegroupBackend::recvAnysource(Tensors& tensors, int tag) { return message(tensors, kAnyRank, tag, false); }

// Rank 0 hears of everybody, then answers: so it can name who has not come.
void RegroupBackend::monitoredBarrier(const c10d::BarrierOptions& opts, bool wait_all_ranks) {
  check_open();
  const Time until = Clock::now() + bound(opts.timeout);
  Messages& all = *messages_;
  const std::int64_t tag = kBarrierTag + static_cast<std::int64_t>(barriers_++);
  const auto post = [&](bool send, int peer) {
    auto m = std::make_shared<Message>();
    m->send = send;
    m->peer = peer;
    m->tag = tag;
    all.post(m);
    return m;
  };
  const auto came = [&](const MessagePtr& m) {
    const bool in_time = all.wait(m, std::max(until, Clock::now() + Millis(1)));
    if (!in_time) all.give_up(m);
    return in_time && m->status.ok();
  };
  if (rank_ != 0) {
    const MessagePtr here = post(true, 0);
    const MessagePtr answer = post(false, 0);
    TORCH_CHECK(came(here) && came(answer), "Rank ", rank_,
                " successfully reached monitoredBarrier, but received errors while waiting for send/recv from rank 0. "
                "Please check rank 0 logs for faulty rank.");
    return;
  }
  std::vector<MessagePtr> waits;
  std::string missing;
  for (int peer = 1; peer < size_; ++peer) waits.push_back(post(false, peer));
  for (int peer = 1; peer < size_; ++peer) {
    if (came(waits[static_cast<std::size_t>(peer - 1)])) continue;
    missing += (missing.empty() ? "" : ", ") + std::to_string(peer);
    if (!wait_all_ranks) break;
  }
  for (const MessagePtr& m : waits)
    if (!m->done) all.give_up(m);
  TORCH_CHECK(missing.empty(), "[Rank 0]: Rank", wait_all_ranks ? "s " : " ", missing,
              " failed to pass monitoredBarrier in ", bound(opts.timeout).count(), " ms");
  for (int peer = 1; peer < size_; ++peer) waits[static_cast<std::size_t>(peer - 1)] = post(true, peer);
  for (const MessagePtr& m : waits) TORCH_CHECK(came(m), "monitoredBarrier: a rank left before the answer reached it");
}

}  // namespace regroup::python
