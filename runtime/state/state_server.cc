#include "runtime/state/state_server.h"

#include <netinet/in.h>
#include <poll.h>

#include <algorithm>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "ft/driver/net.h"
#include "runtime/state/serve.h"
#include "runtime/state/stream.h"
#include "runtime/state/wire.h"

namespace regroup::state {
namespace {

constexpr std::size_t kChunkBytes = 1u << 20;
constexpr std::uint32_t kMaxBuffers = 65536;
constexpr std::size_t kMaxServing = 64;

std::uint16_t port_of(const net::Address& address) {
  const auto* any = reinterpret_cast<const sockaddr*>(&address.storage);
  return ntohs(any->sa_family == AF_INET6 ? reinterpret_cast<const sockaddr_in6*>(any)->sin6_port
                                          : reinterpret_cast<const sockaddr_in*>(any)->sin_port);
}

// Digest of a whole buffer, from the checksums of its chunks in order.
std::uint64_t fold(std::uint64_t digest, std::uint64_t chunk_sum) {
  return (digest ^ chunk_sum) * 0x9e3779b97f4a7c15ull + (digest >> 29);
}

Status fail(Stream& stream, const std::string& why) {
  wire::Frame frame;
  frame.type = kFailed;
  (void)stream.send(frame, std::as_bytes(std::span(why.data(), why.size()))).ok();
  return {Code::kUnavailable, why};
}

}  // namespace

Result<std::unique_ptr<StateServer>> StateServer::start(Config config) {
  std::unique_ptr<StateServer> server(new StateServer(std::move(config)));
  Result<Fd> listener = net::listen_tcp({server->config_.host, 0});
  if (!listener) return listener.error();
  server->listener_ = std::move(*listener);
  server->port_ = port_of(net::local_address(server->listener_.get()));
  server->thread_ = std::thread([raw = server.get()] { raw->loop(); });
  return server;
}

StateServer::~StateServer() {
  stop_.store(true);
  if (thread_.joinable()) thread_.join();
  for (Serving& s : serving_) s.thread.join();
}

void StateServer::loop() {
  while (!stop_.load()) {
    pollfd p{listener_.get(), POLLIN, 0};
    const bool knock = ::poll(&p, 1, 50) > 0;
    std::erase_if(serving_, [](Serving& s) { return s.over->load() ? (s.thread.join(), true) : false; });
    if (!knock) continue;
    Result<Fd> connection = net::accept_one(listener_.get());
    if (!connection || serving_.size() >= kMaxServing) continue;  // closed: whoever knocks tries again
    auto over = std::make_shared<std::atomic<bool>>(false);
    std::thread thread([this, over, fd = std::make_shared<Fd>(std::move(*connection))] {
      serve(std::move(*fd));
      over->store(true);
    });
    serving_.push_back({std::move(thread), std::move(over)});
  }
}

void StateServer::serve(Fd connection) {
  Stream stream(std::move(connection), config_.group, config_.secret, now() + config_.patience, &stop_);
  if (!stream.open_as_server()) return;
  Result<wire::Frame> first = stream.receive_header();
  if (!first || first->length > kMaxTableBytes) return;
  const wire::Frame request = *first;
  if (config_.holder != nullptr && (request.type == kOpen || request.type == kFollow)) {
    std::vector<std::byte> open(request.length);
    if (!stream.receive_payload(request, open)) return;
    return request.type == kOpen ? serve_data(stream, *config_.holder, open, stop_) : serve_feed(stream, *config_.holder, open, stop_);
  }
  if (request.type != kRequest || request.length != 0) return;
  const Instant until = now() + config_.patience;
  while (!config_.stable_as_of(request.op)) {
    if (stop_.load() || now() >= until) {
      (void)fail(stream, "the state was not at rest as of op " + std::to_string(request.op) + " in time").ok();
      return;
    }
    std::this_thread::sleep_for(std::chrono::microseconds(300));
  }
  Writer head;
  head.u64(config_.steps());
  head.u32(static_cast<std::uint32_t>(config_.state.size()));
  for (const StateBuffer& b : config_.state) head.text(b.name), head.u64(b.bytes);
  wire::Frame frame;
  frame.type = kHead;
  frame.op = request.op;
  if (!stream.send(frame, head.bytes())) return;
  for (std::size_t i = 0; i < config_.state.size(); ++i) {
    const auto* data = static_cast<const std::byte*>(config_.state[i].data);
    std::uint64_t digest = 0;
    for (std::size_t at = 0; at < config_.state[i].bytes; at += kChunkBytes) {
      const std::span<const std::byte> chunk(data + at, std::min(kChunkBytes, config_.state[i].bytes - at));
      frame.type = kChunk;
      frame.chunk = static_cast<std::uint32_t>(i);
      frame.offset = at;
      digest = fold(digest, wire::checksum(chunk));
      if (!stream.send(frame, chunk)) return;
    }
    Writer w;
    w.u64(digest);
    frame.type = kDigest;
    if (!stream.send(frame, w.bytes())) return;
  }
  log::info("state_served", "op=" + std::to_string(request.op));
}

Result<Served> fetch_state(const std::string& host, std::uint16_t port, const std::string& group, const std::string& secret,
                           OpId op, std::span<const StateBuffer> state, Instant deadline, const std::atomic<bool>* stop) {
  Result<Fd> connection = connect_to(host, port, deadline);
  if (!connection) return connection.error();
  return fetch_over(std::move(*connection), group, secret, op, state, deadline, stop);
}

Result<Served> fetch_over(Fd connection, const std::string& group, const std::string& secret, OpId op,
                          std::span<const StateBuffer> state, Instant deadline, const std::atomic<bool>* stop) {
  Stream stream(std::move(connection), group, secret, deadline, stop);
  if (Status s = stream.open_as_client(); !s) return s.error();
  wire::Frame frame;
  frame.type = kRequest;
  frame.op = op;
  if (Status s = stream.send(frame, {}); !s) return s.error();
  Result<std::vector<std::byte>> head = stream.expect(kHead, frame);
  if (!head) return head.error();
  Reader r(*head);
  Served served{r.u64()};
  const std::uint32_t count = r.count(kMaxBuffers);
  if (count != state.size())
    return Error{Code::kConfig, "the source has " + std::to_string(count) + " state buffers, this member " + std::to_string(state.size())};
  for (const StateBuffer& mine : state) {
    const std::string name = r.text(255);
    const std::uint64_t bytes = r.u64();
    if (name != mine.name || bytes != mine.bytes)
      return Error{Code::kConfig, "state buffer '" + mine.name + "' of " + std::to_string(mine.bytes) + " bytes is '" + name +
                                      "' of " + std::to_string(bytes) + " bytes at the source"};
  }
  if (!r.done()) return Error{Code::kRefused, "state transfer: malformed head"};
  for (std::size_t i = 0; i < state.size(); ++i) {
    auto* data = static_cast<std::byte*>(state[i].data);
    std::uint64_t digest = 0;
    for (std::size_t at = 0; at < state[i].bytes; at += kChunkBytes) {
      Result<wire::Frame> chunk = stream.receive_header();
      if (!chunk) return chunk.error();
      if (chunk->type != kChunk || chunk->chunk != i || chunk->offset != at)
        return Error{Code::kRefused, "state transfer: chunks out of order"};
      const std::span<std::byte> into(data + at, std::min(kChunkBytes, state[i].bytes - at));
      if (Status s = stream.receive_payload(*chunk, into); !s) return s.error();
      digest = fold(digest, chunk->payload_sum);
    }
    Result<std::vector<std::byte>> end = stream.expect(kDigest, frame);
    if (!end) return end.error();
    if (Reader(*end).u64() != digest) return Error{Code::kRefused, "state buffer '" + state[i].name + "': digest differs"};
  }
  return served;
}

}  // namespace regroup::state
