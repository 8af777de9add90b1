// SegmentServer: hands this member's segment descriptors (read-only) to peers of the same user over an abstract unix
// socket. A thread of its own, which sleeps in poll; it touches no large memory. add/remove from any thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "base/fd.h"
#include "base/ids.h"
#include "base/result.h"

namespace regroup::shm {

class SegmentServer {
 public:
  // The socket's name is made from the incarnation.
  static Result<std::unique_ptr<SegmentServer>> start(const Incarnation& self);
  ~SegmentServer();
  [[nodiscard]] const std::string& socket_name() const { return name_; }
  void add(std::uint32_t segment, int read_only_fd);  // duplicates the descriptor
  void remove(std::uint32_t segment);

 private:
  SegmentServer() = default;
  void loop();
  std::string name_;
  Fd listener_;
  Fd stop_;
  std::mutex mutex_;
  std::map<std::uint32_t, Fd> descriptors_;
  std::thread thread_;
};

// One request and its answer, as they lie on the wire (one host: native order).
struct SegmentRequest {
  std::uint32_t magic = 0x47455352;
  std::uint32_t segment = 0;
};
struct SegmentAnswer {
  std::uint32_t found = 0;
};

}  // namespace regroup::shm
