#include "transport/ucx/lane.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/bytes.h"

namespace regroup::ucx {
namespace {

// UCX says it only in what it prints: does a lane of the endpoint serve for large transfers by get?
bool can_get(const Api& api, ucp_ep_h ep) {
  return printed([&](std::FILE* stream) { api.ucp_ep_print_info(ep, stream); }).find("rma_bw#") != std::string::npos;
}

}  // namespace

void Lane::use(ucp_ep_h ep) {
  ep_ = ep;
  gets_ = can_get(api_, ep);
}

tcp::Io Lane::fail(Fault fault, std::string why) {
  if (fault_ == Fault::kNone) {
    fault_ = fault;
    reason_ = std::move(why);
  }
  return tcp::Io::kClosed;
}

// --- sending ---

void Lane::on_sent(void* request, ucs_status_t status, void* slot) {
  auto* s = static_cast<Slot*>(slot);
  Lane* self = s->lane;
  self->free_.push_back(s);
  --self->in_flight_;
  if (status != UCS_OK) self->fail(Fault::kError, "UCX send: " + self->text(status));
  else self->gone(s->word);
  self->api_.ucp_request_free(request);
}

void Lane::post(ucp_ep_h by, Head head, const tcp::Outgoing& out, unsigned flags, Word word) {
  if (free_.empty()) {
    slots_.push_back(std::make_unique<Slot>());
    slots_.back()->lane = this;
    free_.push_back(slots_.back().get());
  }
  Slot* slot = free_.back();
  free_.pop_back();
  slot->word = word;
  wire::encode(out.frame, head.frame);
  encode(head, slot->head.data());
  const void* payload = out.payload;
  if (out.frame.length != 0 && out.frame.length <= kSmallBytes && !out.opaque) {
    std::memcpy(slot->small.data(), out.payload, out.frame.length);
    payload = slot->small.data();
  }
  ucp_request_param_t param{};
  param.op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA | UCP_OP_ATTR_FIELD_FLAGS;
  param.cb.send = &on_sent;
  param.user_data = slot;
  const bool fetched = out.opaque && devices_, may = gets_ && out.frame.length >= kEagerBytes;
  param.flags = flags | (fetched ? unsigned{UCP_AM_SEND_FLAG_RNDV} : may ? 0u : unsigned{UCP_AM_SEND_FLAG_EAGER});
  dirty_ = true;
  void* request = api_.ucp_am_send_nbx(by, kMessage, slot->head.data(), slot->head.size(), payload, out.frame.length, &param);
  if (UCS_PTR_IS_PTR(request)) {
    ++in_flight_;
    return;
  }
  free_.push_back(slot);
  if (request != nullptr) fail(Fault::kError, "UCX send: " + text(UCS_PTR_STATUS(request)));
  else gone(word);
}

void Lane::gone(Word word) {
  if (word == Word::kLast) clear_ = true;
  if (word == Word::kGreeting) greeted_ = true;
}

bool Lane::knock() {
  if (!patient_ || ep_ == nullptr || knocked_) return true;
  Writer head;
  head.u64(theirs_);
  const std::vector<std::byte> bytes = head.take();
  ucp_request_param_t param{};
  param.op_attr_mask = UCP_OP_ATTR_FLAG_FORCE_IMM_CMPL | UCP_OP_ATTR_FIELD_MEMORY_TYPE;
  param.memory_type = UCS_MEMORY_TYPE_HOST;
  void* request = api_.ucp_am_send_nbx(ep_, kMessage, bytes.data(), bytes.size(), nullptr, 0, &param);
  if (UCS_PTR_STATUS(request) == UCS_ERR_NO_RESOURCE) return false;
  if (request != nullptr) fail(Fault::kError, "UCX send: " + text(UCS_PTR_STATUS(request)));
  else greet_at(&knocked_);
  return true;
}

void Lane::greet_at(bool* knock) {
  if (std::exchange(*knock, true) || !knocked_ || !admitted_) return;
  posted_ = true;
  post(ep_, {{}, sent_++, theirs_}, {marker_, nullptr}, UCP_AM_SEND_FLAG_REPLY, Word::kGreeting);
}

void Lane::greet() {
  if (!patient_) send({marker_, nullptr}, UCP_AM_SEND_FLAG_REPLY);
}

void Lane::hear(ucp_ep_h by) {
  if (std::exchange(heard_, true) || !patient_) return;
  if (by == nullptr) by = ep_;
  if (by != nullptr) post(by, {{}, 0, mine_}, {marker_, nullptr}, 0, Word::kLast);
}

void Lane::part() {
  if (patient_ && greeted_ && !heard_) post(ep_, {}, {marker_, nullptr}, 0, Word::kLast);
}

bool Lane::unsettled() {
  if (!up()) return false;
  if (in_flight_ == 0 && dirty_) {
    send({marker_, nullptr});
    dirty_ = false;
  }
  return in_flight_ != 0;
}

// --- receiving ---

ucs_status_t Lane::take(const Head& head, void* data, std::size_t length, std::uint64_t attributes) {
  if (fault_ != Fault::kNone) return UCS_OK;
  Inbound in;
  in.number = head.number;
  in.header = head.frame;
  in.length = length;
  const auto at = std::find_if(inbound_.rbegin(), inbound_.rend(), [&](const Inbound& i) { return i.number <= in.number; }).base();
  const bool twice = in.number < taken_ || (at != inbound_.begin() && std::prev(at)->number == in.number);
  if (twice || length > wire::kMaxPayloadBytes || queued_ + length > kMaxQueued) {
    fail(Fault::kBreach, "a message that the protocol does not allow here");
    return UCS_OK;
  }
  in.fetch = (attributes & UCP_AM_RECV_ATTR_FLAG_RNDV) != 0;
  const bool ours = length != 0;  // UCP_AM_FLAG_PERSISTENT_DATA
  if (ours) in.data = data;
  queued_ += length;
  inbound_.insert(at, std::move(in));
  return ours ? UCS_INPROGRESS : UCS_OK;
}

void Lane::release(Inbound& in) {
  if (in.data != nullptr) api_.ucp_am_data_release(worker_, std::exchange(in.data, nullptr));
}

void Lane::on_fetched(void* request, ucs_status_t status, std::size_t, void* lane) {
  auto* self = static_cast<Lane*>(lane);
  self->first_ = First::kHere;
  if (status != UCS_OK) self->fail(Fault::kError, "UCX fetch: " + self->text(status));
  self->api_.ucp_request_free(request);
}

// The first message: places it and lets its bytes come there.
bool Lane::begin(tcp::FrameUser& user, Inbound& in, tcp::Io& answer) {
  const Result<wire::Frame> frame = wire::decode(in.header);
  if (!frame || frame->length != in.length) {
    answer = fail(Fault::kMalformed, frame ? "a message of another length than its frame" : frame.error().detail);
    return false;
  }
  frame_ = *frame;
  const tcp::Placement placement = user.place(frame_);
  if (placement.take == tcp::Take::kHold) return answer = tcp::Io::kHeld, false;
  if (placement.take == tcp::Take::kRefuse)
    return answer = fail(Fault::kBreach, "a frame that the protocol does not allow here"), false;
  into_ = placement.take == tcp::Take::kInto ? placement.into : nullptr;
  first_ = First::kHere;
  if (placement.take == tcp::Take::kDiscard) {
    release(in);
    frame_.length = 0;
    frame_.type = 0;  // nobody is told
    return true;
  }
  opaque_ = placement.opaque;
  if (in.length == 0) return true;
  if (!in.fetch) {
    std::memcpy(into_, in.data, in.length);
    release(in);
    return true;
  }
  ucp_request_param_t param{};
  param.op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA;
  param.cb.recv_am = &on_fetched;
  param.user_data = this;
  first_ = First::kFetching;
  void* request = api_.ucp_am_recv_data_nbx(worker_, std::exchange(in.data, nullptr), into_, in.length, &param);
  if (UCS_PTR_IS_PTR(request)) return true;
  first_ = First::kHere;
  if (request != nullptr) return answer = fail(Fault::kError, "UCX fetch: " + text(UCS_PTR_STATUS(request))), false;
  return true;
}

tcp::Io Lane::serve(tcp::FrameUser& user) {
  tcp::Io answer = tcp::Io::kIdle;
  bool moved = false;
  while (fault_ == Fault::kNone && !inbound_.empty() && inbound_.front().number == taken_) {
    if (first_ == First::kNew && !begin(user, inbound_.front(), answer)) return moved && answer == tcp::Io::kHeld ? tcp::Io::kMoved : answer;
    if (first_ == First::kFetching) break;
    first_ = First::kNew;
    queued_ -= inbound_.front().length;
    inbound_.pop_front();
    ++taken_;
    moved = true;
    if (frame_.type == 0) continue;
    if (!opaque_ && wire::checksum({into_, frame_.length}) != frame_.payload_sum)
      return fail(Fault::kChecksum, "the checksum of a payload differs");
    if (!user.arrived(frame_)) return fail(Fault::kBreach, "a frame that the protocol does not allow here");
  }
  if (fault_ != Fault::kNone) return tcp::Io::kClosed;
  return moved ? tcp::Io::kMoved : tcp::Io::kIdle;
}

void Lane::abandon() {
  fail(Fault::kEnd, "abandoned");
  for (Inbound& in : inbound_)
    if (!in.fetch) release(in);  // a fetch that was not begun goes with the worker
  inbound_.clear();
}

}  // namespace regroup::ucx
