#include "runtime/state/source_link.h"

#include <algorithm>

#include "base/clock.h"
#include "transport/wire/address.h"

namespace regroup::state {
namespace {

constexpr std::size_t kChunkBytes = 1u << 20;

Result<Stream> open_stream(const Reach& reach, const MemberInfo& who, Instant deadline) {
  Result<wire::MemberAddress> address = wire::decode_address(who.address);
  if (!address) return address.error();
  Result<Fd> connection = connect_to(address->data_host, address->state_port, deadline);
  if (!connection) return connection.error();
  Stream stream(std::move(*connection), reach.group, reach.secret, deadline, reach.stop);
  if (Status s = stream.open_as_client(); !s) return s.error();
  return stream;
}

// A whole frame of this type; the error that kFailed carries, else kRefused.
Result<std::vector<std::byte>> answer(Stream& stream, std::uint16_t type) {
  Result<wire::Frame> frame = stream.receive_header();
  if (!frame) return frame.error();
  if (frame->length > wire::kMaxPayloadBytes) return Error{Code::kRefused, "catch-up: a frame over its bound"};
  std::vector<std::byte> payload(frame->length);
  if (Status s = stream.receive_payload(*frame, payload); !s) return s.error();
  if (frame->type == type) return payload;
  if (frame->type != kFailed || frame->chunk == 0 || frame->chunk > static_cast<std::uint32_t>(Code::kClosed))
    return Error{Code::kRefused, "catch-up: unexpected frame " + std::to_string(frame->type)};
  return Error{static_cast<Code>(frame->chunk), std::string(reinterpret_cast<const char*>(payload.data()), payload.size())};
}

wire::Frame frame_of(std::uint16_t type) {
  wire::Frame frame;
  frame.type = type;
  return frame;
}

const Error kMalformed{Code::kRefused, "catch-up: malformed answer"};

}  // namespace

Result<Holder::Version> SourceLink::open(const StripeTable& mine, Instant deadline) {
  Result<Stream> stream = open_stream(reach_, who_, deadline);
  if (!stream) return stream.error();
  stream_.emplace(std::move(*stream));
  Writer table;
  mine.encode(table);
  if (table.bytes().size() > kMaxTableBytes) return Error{Code::kConfig, "the names of the registered state are too long"};
  if (Status s = stream_->send(frame_of(kOpen), table.bytes()); !s) return s.error();
  Result<std::vector<std::byte>> reply = answer(*stream_, kVersion);
  if (!reply) return reply.error();
  const auto version = decode_version(*reply);
  if (!version) return kMalformed;
  return *version;
}

Result<SourceLink::Taken> SourceLink::take(const TakeAsk& ask, Instant deadline) {
  stream_->set_deadline(deadline);
  if (Status s = stream_->send(frame_of(kTake), encode(ask)); !s) return s.error();
  Result<std::vector<std::byte>> reply = answer(*stream_, kTaken);
  if (!reply) return reply.error();
  Reader r(*reply);
  Taken taken;
  taken.op = r.u64();
  const std::uint32_t blobs = r.count(kMaxTensors);
  for (std::uint32_t i = 0; i < blobs && r.ok(); ++i) {
    const std::string text = r.text(kMaxTableBytes);
    const auto* data = reinterpret_cast<const std::byte*>(text.data());
    taken.blobs.emplace_back(data, data + text.size());
  }
  if (!r.done()) return kMalformed;
  return taken;
}

Status SourceLink::get(const StripeTable& table, const GetAsk& ask, const Answers& answers, Duration patience) {
  stream_->set_deadline(now() + patience);
  if (Status s = stream_->send(frame_of(kGet), encode(ask)); !s) return s;
  for (std::uint32_t i : ask.stripes) {
    stream_->set_deadline(now() + patience);
    Result<wire::Frame> frame = stream_->receive_header();
    if (!frame) return frame.error();
    const bool gone = frame->type == kGone && frame->length == 0;
    if (!gone && frame->type == kFailed) return {Code::kNoMemory, "the source has ended its snapshot"};
    if ((!gone && frame->type != kStripe) || frame->chunk != i) return {Code::kRefused, "catch-up: not the stripe asked for"};
    bytes_.resize(gone ? 0 : table[i].bytes);
    if (Status s = stream_->receive_payload(*frame, bytes_); !s) return s;
    if (gone) answers.gone(i);
    else answers.stripe(i, bytes_);
  }
  stream_->set_deadline(now() + patience);
  Result<std::vector<std::byte>> reply = answer(*stream_, kDigests);
  if (!reply) return reply.error();
  const auto told = decode_told(*reply);
  if (!told || told->size() != ask.digests.size()) return kMalformed;
  for (std::size_t i = 0; i < told->size(); ++i) {
    if ((*told)[i].stripe != ask.digests[i]) return kMalformed;
    answers.told((*told)[i]);
  }
  return {};
}

Result<OpId> FeedLink::open(const FollowAsk& ask, Instant deadline) {
  Result<Stream> stream = open_stream(reach_, who_, deadline);
  if (!stream) return stream.error();
  stream_.emplace(std::move(*stream));
  if (Status s = stream_->send(frame_of(kFollow), encode(ask)); !s) return s.error();
  Result<std::vector<std::byte>> reply = answer(*stream_, kVersion);
  if (!reply) return reply.error();
  const auto head = decode_version(*reply);
  if (!head) return kMalformed;
  return head->op;
}

Result<std::optional<Entry>> FeedLink::next(Duration patience, std::uint64_t max_bytes) {
  stream_->set_deadline(now() + patience);
  Result<wire::Frame> frame = stream_->receive_header();
  if (!frame) return frame.error();
  if (frame->type == kAlive && frame->length == 0) return std::optional<Entry>{};
  if (frame->type != kResult || frame->length > 256) return Error{Code::kUnavailable, "the feed has ended"};
  std::vector<std::byte> head(frame->length);
  if (Status s = stream_->receive_payload(*frame, head); !s) return s.error();
  std::uint64_t bytes = 0;
  std::optional<Entry> entry = decode_entry(head, bytes);
  if (!entry) return kMalformed;
  if (bytes > max_bytes) return Error{Code::kNoMemory, "a result of " + std::to_string(bytes) + " bytes is over the journal's bound"};
  entry->data.reserve(bytes);
  for (std::size_t at = 0; at < bytes; at += kChunkBytes) {
    stream_->set_deadline(now() + patience);
    Result<wire::Frame> chunk = stream_->receive_header();
    if (!chunk) return chunk.error();
    if (chunk->type != kChunk) return kMalformed;
    const std::size_t n = std::min<std::size_t>(kChunkBytes, bytes - at);
    entry->data.resize(at + n);  // zeroed piece by piece: it is in the cache when the bytes come
    if (Status s = stream_->receive_payload(*chunk, std::span(entry->data).subspan(at, n)); !s) return s.error();
  }
  return entry;
}

}  // namespace regroup::state
