// Imports: device memory of peers that this member has opened, to be read. An allocation is opened once and kept while its
// owner is in the view; of each owner at most so many, the one that was not asked for longest goes first.
//
// Closing may wait for every stream of the device, some of which wait for ops of ours, so it is done on a thread of its own,
// and not before nothing that was queued still reads there.
// Ownership: owns what it opened; destroyed when no stream reads it any more. Threading: the holder of the execution token.
// After a lost device: nothing is opened any more, and nothing closed.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <span>

#include "base/ids.h"
#include "base/result.h"
#include "base/worker.h"
#include "kernels/device/device.h"

namespace regroup::cuda_ipc {

class Imports {
 public:
  // Makes a question: has all that was queued when it was made been carried out?
  using Past = std::function<std::function<bool()>()>;
  Imports(std::shared_ptr<device::Device> device, std::size_t most, Past past);
  ~Imports();
  Imports(const Imports&) = delete;
  Imports& operator=(const Imports&) = delete;

  // Where the lent memory begins here. Errors of Device::open; kRefused: it has not so many bytes.
  Result<const std::byte*> at(const Incarnation& owner, const device::Loan& loan, std::size_t bytes);
  // Lets go of what others own.
  void keep(std::span<const Incarnation> owners);
  [[nodiscard]] std::size_t size() const;  // allocations that are open, those that wait for being closed left out

 private:
  struct Open {
    std::uint64_t id;
    const std::byte* at;
  };
  void let_go(std::span<const Open> gone);
  std::shared_ptr<device::Device> device_;
  const std::size_t most_;
  Past past_;
  std::map<Incarnation, std::deque<Open>> open_;  // of each owner, the last one that was asked for in front
  std::shared_ptr<std::atomic<bool>> over_ = std::make_shared<std::atomic<bool>>(false);
  Worker closer_;
};

}  // namespace regroup::cuda_ipc
