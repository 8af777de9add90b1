#include "python/adapter/messages.h"

#include <algorithm>
#include <cstring>
#include <thread>

namespace regroup::python {
namespace {

MemberId id(int rank) { return {static_cast<std::uint32_t>(rank), 0}; }

void finish(Message& m, Status status) {
  m.status = std::move(status);
  m.done.store(true, std::memory_order_release);
  m.hold.reset();
}

bool wants(const Message& receiver, int peer, std::int64_t tag) {
  return receiver.tag == tag && (receiver.peer == kAnyRank || receiver.peer == peer);
}

void give(Message& receiver, const Message& got) {
  receiver.source = got.source;
  if (got.bytes != receiver.bytes)
    return finish(receiver,
                  {Code::kMismatch, "rank " + std::to_string(got.source) + " sent " + std::to_string(got.bytes) +
                                        " bytes, " + std::to_string(receiver.bytes) + " were to be received"});
  if (got.bytes != 0) std::memcpy(receiver.data, got.data, got.bytes);
  finish(receiver, got.status);
}

Status of(Result<Outcome> result) { return result.ok() ? Status{} : Status{result.error()}; }

}  // namespace

void Messages::post(const MessagePtr& m) {
  std::lock_guard lock(mutex_);
  if (closed_) return finish(*m, {Code::kClosed, "the process group was shut down or aborted"});
  if (!m->send) {
    const auto it =
        std::find_if(aside_.begin(), aside_.end(), [&](const auto& a) { return wants(*m, a->source, a->tag); });
    if (it != aside_.end()) {
      give(*m, **it);
      aside_.erase(it);
      return;
    }
    receivers_.push_back(m);
    return listen();
  }
  (void)group_->view();  // a peer that came back is a new incarnation
  m->header = {m->tag, m->bytes};
  m->header_work = group_->send_async(&m->header, sizeof m->header, DataType::kU8, id(m->peer));
  if (m->bytes != 0) m->work = group_->send_async(m->data, m->bytes, DataType::kU8, id(m->peer));
  sends_.push_back(m);
}

// A header is awaited from whomever somebody waits for.
void Messages::listen() {
  const ViewInfo view = group_->view();
  for (const MemberId member : view.members) {
    const int peer = static_cast<int>(member.replica);
    if (member == group_->id()) continue;
    Listener& from = listeners_[peer];
    const bool wanted = std::any_of(receivers_.begin(), receivers_.end(),
                                    [&](const auto& m) { return m->peer == peer || m->peer == kAnyRank; });
    if (from.listening || from.taking || !wanted) continue;
    from.work = group_->recv_async(&from.header, sizeof from.header, DataType::kU8, member);
    from.listening = true;
  }
  std::erase_if(receivers_, [&](const MessagePtr& m) {
    const bool there = m->peer == kAnyRank ? view.size() > 1
                                           : std::any_of(view.members.begin(), view.members.end(),
                                                         [&](MemberId x) { return x == id(m->peer); });
    if (!there) finish(*m, {Code::kViewChanged, "rank " + std::to_string(m->peer) + " is not in the group any more"});
    return !there;
  });
}

// The header of the next message of `peer` is there.
void Messages::arrived(int peer, Listener& from) {
  from.listening = false;
  const auto it = std::find_if(receivers_.begin(), receivers_.end(),
                               [&](const auto& m) { return wants(*m, peer, from.header.tag); });
  MessagePtr into;
  if (it != receivers_.end() && (*it)->bytes == from.header.bytes) {
    into = *it;
    receivers_.erase(it);
    from.aside = false;
  } else {  // put aside, or of another size than the receiver's
    from.aside = true;
    into = std::make_shared<Message>();
    auto bytes = std::make_shared<std::vector<std::byte>>(from.header.bytes);
    into->tag = from.header.tag;
    into->data = bytes->data();
    into->bytes = from.header.bytes;
    into->hold = bytes;
  }
  into->source = peer;
  if (into->bytes != 0) into->work = group_->recv_async(into->data, into->bytes, DataType::kU8, id(peer));
  into->matched = true;
  from.taking = into;
}

// To whoever began to wait for it meanwhile, else kept.
void Messages::put_aside(const MessagePtr& m) {
  const auto it =
      std::find_if(receivers_.begin(), receivers_.end(), [&](const auto& r) { return wants(*r, m->source, m->tag); });
  if (it == receivers_.end()) {
    aside_.push_back(m);
    return;
  }
  give(**it, *m);
  receivers_.erase(it);
}

bool Messages::ended(const Message& m) const { return m.bytes == 0 || m.work.done(); }

void Messages::progress() {
  std::erase_if(sends_, [&](const MessagePtr& m) {
    if (!m->header_work.done() || !ended(*m)) return false;
    Status status = of(m->header_work.wait(1e-6));
    if (status.ok() && m->bytes != 0) status = of(m->work.wait(1e-6));
    finish(*m, std::move(status));
    return true;
  });
  bool again = false;
  for (auto& [peer, from] : listeners_) {
    if (from.listening && from.work.done()) {
      if (of(from.work.wait(1e-6)).ok()) {
        arrived(peer, from);
      } else {
        from.listening = false;  // the peer has gone, or come back as another
        again = true;
      }
    }
    if (from.taking && ended(*from.taking)) {
      const MessagePtr m = std::move(from.taking);
      from.taking = nullptr;
      const Status status = m->bytes == 0 ? Status{} : of(m->work.wait(1e-6));
      if (!from.aside) {
        finish(*m, status);
      } else if (status.ok()) {
        put_aside(m);
      }
      again = true;
    }
  }
  if (again) listen();
}

bool Messages::wait(const MessagePtr& m, std::chrono::steady_clock::time_point until) {
  for (int spins = 0;; ++spins) {
    Work on;
    {
      std::lock_guard lock(mutex_);
      progress();
      if (m->done.load(std::memory_order_acquire)) return true;
      if (m->send) {
        on = m->header_work.done() ? m->work : m->header_work;
      } else if (m->matched) {
        on = m->work;
      } else if (const auto it = listeners_.find(m->peer); it != listeners_.end()) {
        on = it->second.taking ? it->second.taking->work : it->second.work;
      }
    }
    const auto left = until - std::chrono::steady_clock::now();
    if (left.count() <= 0) return false;
    const double slice = std::min(std::chrono::duration<double>(left).count(), 0.05);
    if (m->peer != kAnyRank) {
      if (const auto got = on.wait(slice); !got.ok() && got.code() == Code::kInvalid)
        std::this_thread::sleep_for(std::chrono::microseconds(50));
    } else {
      std::this_thread::sleep_for(std::chrono::microseconds(std::min(20 + spins * 5, 1000)));
    }
  }
}

void Messages::give_up(const MessagePtr& m) {
  std::lock_guard lock(mutex_);
  receivers_.remove(m);
}

void Messages::close() {
  std::lock_guard lock(mutex_);
  if (closed_) return;
  closed_ = true;
  group_->detach();
  for (auto* list : {&sends_, &receivers_})
    for (const MessagePtr& m : *list)
      if (!m->done) finish(*m, {Code::kClosed, "the process group was shut down or aborted"});
}

}  // namespace regroup::python
