// Messages: send and recv with tags, and recv from anybody, over a group of its own (so that they are in no order with
// collectives). A message is a header (tag, bytes) and its payload. A receiver that finds another tag than it waits for
// puts the message aside. Knows nothing of torch.
//
// Threading: any thread; who waits drives. After a failure: messages of a rank that is gone end with kViewChanged,
// those of the others go on.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "regroup/regroup.h"

namespace regroup::python {

constexpr int kAnyRank = -1;

struct Message {
  bool send = false;
  int peer = 0;  // kAnyRank: a receiver that takes whichever comes first
  std::int64_t tag = 0;
  void* data = nullptr;  // stays valid until done: `hold` owns it
  std::size_t bytes = 0;
  std::shared_ptr<void> hold;

  std::atomic<bool> done{false};
  Status status;
  int source = kAnyRank;  // of a receiver, when done
  Work work;              // the payload; of a receiver once it is matched
  bool matched = false;
  struct Header {
    std::int64_t tag;
    std::uint64_t bytes;
  } header{};
  Work header_work;
};
using MessagePtr = std::shared_ptr<Message>;

class Messages {
 public:
  explicit Messages(std::unique_ptr<Group> group) : group_(std::move(group)) {}
  ~Messages() { close(); }

  void post(const MessagePtr& message);
  // Until it is done (true) or `until`.
  bool wait(const MessagePtr& message, std::chrono::steady_clock::time_point until);
  // It is not waited for any longer; a receiver takes no message then.
  void give_up(const MessagePtr& message);
  void close();
  Group& group() { return *group_; }

 private:
  struct Listener {  // for the next header of a peer
    Message::Header header{};
    Work work;
    bool listening = false;
    MessagePtr taking;   // whose payload is being received
    bool aside = false;  // it is nobody's yet
  };
  void progress();  // mutex_ held; never waits
  void listen();
  void put_aside(const MessagePtr& m);
  void arrived(int peer, Listener& from);
  bool ended(const Message& m) const;

  std::unique_ptr<Group> group_;
  std::mutex mutex_;
  std::list<MessagePtr> sends_, receivers_;
  std::map<int, Listener> listeners_;
  std::list<MessagePtr> aside_;  // came with a tag that nobody waited for; data is theirs
  bool closed_ = false;
};

}  // namespace regroup::python
