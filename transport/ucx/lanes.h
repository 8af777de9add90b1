// UcxLanes: UCX of one member: a context for its life, a worker for an epoch, lanes to the peers of it. See ucx.h.
//
// Over a network, endpoints are made as UCX's clients and servers make them, each with a failure handler: the end with the
// smaller key connects to the other's listener. (Made from workers' addresses, UCX 1.13 aborts when a connection breaks
// before it is up.) Shared memory knows addresses only, and no failures.
// Ownership: owns all that; connections point here and are gone before. Threading: none, as its LinkSet (which lets another
// thread go on where one stopped). A worker that cannot be had is trouble() for the whole epoch.
#pragma once

#include <sys/socket.h>

#include <string>
#include <unordered_map>
#include <vector>

#include "transport/ucx/lane.h"
#include "transport/ucx/ucx.h"

namespace regroup::ucx {

class UcxLanes final : public tcp::Lanes {
 public:
  static Result<std::shared_ptr<tcp::Lanes>> open(std::uint64_t group, const std::string& host, std::uint32_t rails);
  ~UcxLanes() override;
  UcxLanes(const UcxLanes&) = delete;
  UcxLanes& operator=(const UcxLanes&) = delete;

  std::unique_ptr<tcp::Conn> attach(std::unique_ptr<tcp::Conn> socket) override;
  void begin(Epoch epoch) override;
  void end() override;
  bool progress() override;
  [[nodiscard]] int fd() const override { return fd_; }
  [[nodiscard]] bool arm() override;
  [[nodiscard]] tcp::Reach reach() const override { return reach_; }
  [[nodiscard]] bool late() const override;
  void keep(std::shared_ptr<void> memory) override;
  [[nodiscard]] const char* name() const override { return "ucx"; }

  // A lane of this epoch; nullptr: see trouble().
  Lane* lane();
  // The peer has told its address and the key that it wants to see.
  void connect(Lane& lane, std::span<const std::byte> address, std::uint64_t key);
  [[nodiscard]] std::span<const std::byte> address() const { return address_; }
  [[nodiscard]] std::uint64_t group() const { return group_; }
  [[nodiscard]] const std::string& trouble() const { return trouble_; }

 private:
  UcxLanes(const Api& api, std::uint64_t group, ucp_context_h context);
  static ucs_status_t on_message(void* at, const void* head, std::size_t head_bytes, void* data, std::size_t length,
                                 const ucp_am_recv_param_t* param);
  static void on_connection(ucp_conn_request_h request, void* self);
  static void on_error(void* self, ucp_ep_h ep, ucs_status_t status);
  ucs_status_t start();
  ucs_status_t listen();
  ucs_status_t make(ucp_ep_params_t& params, ucp_ep_h& ep);
  bool settle();  // false: the bound passed
  void knock();

  const Api& api_;
  std::uint64_t group_;
  Epoch epoch_ = 0;
  ucp_context_h context_;
  bool network_ = false;
  tcp::Reach reach_ = tcp::Reach::kNone;
  sockaddr_storage host_{};  // where to listen, network only
  ucp_worker_h worker_ = nullptr;
  ucp_listener_h listener_ = nullptr;
  int fd_ = -1;  // the worker's
  std::vector<std::byte> address_;  // of the listener (a sockaddr_storage), or of the worker
  std::vector<ucp_ep_h> eps_;
  std::unordered_map<std::uint64_t, std::unique_ptr<Lane>> lanes_;
  bool ending_ = false;
  bool knocking_ = false;  // a lane has yet to knock
  // Of the epoch before: no longer progressed, so it reads and writes nothing, but still there for who comes late to it.
  struct Retired {
    ucp_worker_h worker = nullptr;
    ucp_listener_h listener = nullptr;
    std::unordered_map<std::uint64_t, std::unique_ptr<Lane>> lanes;
    std::vector<std::shared_ptr<void>> memory;  // that it may still write to
  } retired_;
  void drop_retired();
  void keep_retired();  // what is retired, as long as the process: UCX cannot end it (shared memory only)
  bool kept_ = false;  // then the context stays too
  std::string trouble_;
};

}  // namespace regroup::ucx
