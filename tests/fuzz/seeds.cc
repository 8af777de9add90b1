// fuzz_seeds [--check] FOLDER: writes the seed corpora FOLDER/TARGET/seed-*, made by the encoders themselves, or says
// which differ from what they should be (a format has changed: run it without --check, and commit). Deterministic.
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>

#include "base/bytes.h"
#include "base/rng.h"
#include "ft/driver/codec.h"
#include "ft/sim/history.h"
#include "runtime/state/stripe_table.h"
#include "runtime/state/wire.h"
#include "transport/wire/address.h"
#include "transport/wire/auth.h"
#include "transport/wire/frame.h"

namespace fs = std::filesystem;
using namespace regroup;

namespace {

using Bytes = std::vector<std::byte>;
std::map<std::string, std::string> seeds;  // TARGET/seed-NAME: content

std::string text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
std::string byte(unsigned v) { return std::string(1, static_cast<char>(v)); }
void seed(const std::string& target, const std::string& name, std::string content) {
  seeds[target + "/seed-" + name] = std::move(content);
}

// A byte below 256 says how many follow.
std::string counted(const std::string& s) { return byte(static_cast<unsigned>(s.size())) + s; }

Decision decision() {
  Decision d;
  d.view = {7, 2, {{{0, 0}, {1, 1}, 5, "a"}, {{1, 0}, {1, 2}, 5, "b"}}};
  d.prev = 1, d.trim = 4, d.high = 6;
  d.failed = {{5, Code::kMismatch, {0, 0}, {1, 0}, false}};
  d.joined = {{1, 2}};
  d.planned = true;
  d.reason = "join:1";
  return d;
}

void wire_seeds() {
  wire::Frame frame;
  frame.type = 16, frame.group = wire::group_hash("group"), frame.epoch = 3, frame.op = 9, frame.chunk = 1,
  frame.offset = 4096;
  const Bytes payload(20, std::byte{7});
  wire::fill(frame, payload);
  wire::HeaderBytes header;
  wire::encode(frame, header);
  seed("frame", "whole", byte(0) + text(header) + text(payload));
  seed("frame", "repaired", byte(2) + text(header));
  const wire::MemberAddress address{"127.0.0.1", 4000, 4001, "regroup-seg-1", "regroup-death-1", 99, 7, "net_gbps=2.5 cores=2"};
  seed("address", "usual", wire::encode(address));
  seed("address", "empty", wire::encode(wire::MemberAddress{}));
  const wire::AuthClient client("group", "", wire::Nonce{});
  const std::string open = text(client.open());
  seed("auth", "no-secret", byte(0) + byte(2) + byte(0) + byte(3) + byte(1));
  seed("auth", "one-secret",
       byte(1 + 3) + byte(2) + byte(0) + byte(3) + byte(1) + byte(2) + byte(2) + byte(3) + byte(3));
  seed("auth", "two-secrets",
       byte(1 + 6) + byte(2) + byte(0) + byte(3) + byte(1) + byte(2) + byte(2) + byte(3) + byte(3));
  seed("auth", "stranger", byte(0) + byte(0) + counted(open));
  seed("handshake", "accept", byte(0) + byte(64 + 1) + byte(0) + byte(128 + 0) + byte(5) + byte(6) + byte(1));
  seed("handshake", "connect", byte(1) + byte(64 + 2) + byte(192 + 3) + byte(0));
  seed("handshake", "secret", byte(2) + byte(64 + 1) + byte(1));
  std::string small, large;
  for (int i = 0; i < 6; ++i) small += byte(0) + byte(20) + byte(1) + byte(2) + byte(3) + byte(4);
  for (int i = 0; i < 3; ++i)
    large += byte(1) + byte(40) + byte(1) + byte(2) + byte(3) + byte(4) + byte(2) + byte(60) + byte(3) + byte(2) +
             byte(0) + byte(7) + byte(255) + byte(15);
  seed("framed", "small", small + byte(2) + byte(60) + byte(3) + byte(0) + byte(255) + byte(255));
  seed("framed", "large", large + byte(5) + byte(6));
  seed("framed", "stranger",
       byte(7) + byte(1) + byte(16) + counted("payload") + byte(0) + byte(0) + byte(3) + byte(0) + byte(255) +
           byte(255));
  seed("channel", "frames",
       byte(1) + byte(0x22) + byte(0) + counted("hello") + byte(0x26) + counted("hello") + byte(0) + byte(0xa6) +
           byte(40) + counted("") + byte(0));
  seed("channel", "stranger", byte(0) + byte(1) + byte(64) + text(header) + byte(1) + counted(text(payload)) + byte(0));
}

void control_seeds() {
  const MemberInfo self{{1, 0}, {1, 2}, 5, "address"};
  const ToCoordinator up[] = {Hello{"g", 7, self, 1, "config", 2, 3, true, Readiness::kNo},
                              Heartbeat{3, 9},
                              Ready{},
                              Wedged{5, {2, 6, 4, 7, {11, 12}}},
                              CutDone{2, 3, 4},
                              Level{3, 4, true},
                              Suspect{{1, 1}, SuspectKind::kLink},
                              FailOp{2, {5, Code::kCancelled, {}, {}, false}},
                              AskChange{2, true, "map"},
                              Leave{}};
  const ToMember down[] = {Welcome{7, 2},        Refuse{Code::kConfig, "differs"},
                           Wedge{5, decision()}, Notice{2, 3},
                           Fetch{3, 7, 4, self}, Install{decision()},
                           Evicted{7, 3}};
  for (const ToCoordinator& m : up) seed("codec", "up-" + std::to_string(m.index()), byte(0) + text(encode(m)));
  for (const ToMember& m : down) seed("codec", "down-" + std::to_string(m.index()), byte(1) + text(encode(m)));
  seed("codec", "decision", byte(2) + text(encode(decision())));
  seed("channel", "hello", byte(1) + byte(0x26) + counted(text(encode(up[0]))) + byte(0));

  Writer header;
  header.u32(0x4c564752), header.u32(1), header.u64(77), header.text("g");
  std::string file = text(header.bytes());
  file.resize(504);
  Writer sum;
  sum.u64(wire::checksum(std::as_bytes(std::span(file))));
  seed("view_log", "empty-log", byte(0) + file + text(sum.bytes()));
  const std::string script = byte(0) + byte(4) + byte(6) + byte(2) + byte(1) + byte(5) + counted("a") + byte(2) +
                             byte(5) + counted("b") + byte(1) + byte(5) + byte(1);
  const std::string payload = byte(static_cast<unsigned>(script.size())) + byte(0) + script;
  seed("view_log", "two-views", byte(16 + 2) + payload + payload);
  seed("view_log", "torn", byte(16 + 8 + 2) + payload + payload);
  Decision first = decision();
  first.view.log = 77, first.view.epoch = 1, first.prev = 0;
  const std::string record = text(encode(first));
  seed("view_log", "payload",
       byte(4 + 2) + byte(static_cast<unsigned>(record.size() & 255)) +
           byte(static_cast<unsigned>(record.size() >> 8)) + record);
  seed("view_log", "header", byte(1) + counted(text(header.bytes())));

  seed("state_stream", "two-buffers", byte(2 + 3 * 3) + byte(0) + byte(1) + byte(9) + byte(0) + byte(2) + byte(16 + 2));
  seed("state_stream", "other-head",
       byte(1 + 3) + byte(0) + byte(1) + byte(9) + byte(1) + byte(14) + byte(1) + byte(2));
  const Bytes zeros(6);
  Writer digest;
  digest.u64(wire::checksum(zeros) * 0x9e3779b97f4a7c15ull);
  seed("state_stream", "bare-chunk",
       byte(1 + 3) + byte(0) + byte(1) + byte(9) + byte(0) + byte(3) + byte(4) + counted(text(zeros)) + byte(0) +
           byte(0) + byte(3) + byte(5) + counted(text(digest.bytes())) + byte(0) + byte(0));
  seed("state_stream", "fails", byte(1 + 3) + byte(0) + byte(5) + counted("gone"));
  seed("state_stream", "served",
       byte(128) + byte(3) + byte(1) + counted(text(wire::AuthClient("g", "", wire::Nonce{}).open())) + byte(0) +
           byte(0) + byte(3) + byte(2) + byte(0) + byte(0) + byte(0));
}

void state_seeds() {
  using namespace regroup::state;
  const auto say = [](const char* name, unsigned which, std::span<const std::byte> bytes) {
    seed("catch_up", name, byte(which) + text(bytes));
  };
  say("take", 0, encode(TakeAsk{7, 1, 3}));
  say("get", 1, encode(GetAsk{{0, 2, 9}, {1}}));
  say("told", 2, encode(std::vector<Told>{{4, true, 77}, {5, false, 0}}));
  say("follow", 3, encode(FollowAsk{12, true}));
  say("version", 4, encode(Holder::Version{true, 7, 12}));
  say("entry", 5, encode_entry({12, Code::kOk, true, true, 3, 7, Bytes(40)}));
  Writer w;
  StripeTable({{"weight", DataType::kF32, {3, 50'000}, 600'000}, {"empty", DataType::kU8, {}, 0}, {"b", DataType::kU8, {}, 9}}).encode(w);
  say("table", 6, w.bytes());
  const std::string script = counted("job") + byte(2) + counted("w") + byte(0x40) + byte(0x1f) + byte(0) + counted("v") + byte(9) +
                             byte(0) + byte(1) + byte(3) + byte(3) + byte(7) + byte(1) + counted("blob") + counted("rng");
  seed("checkpoint", "whole", byte(1) + script);
  seed("checkpoint", "short", byte(3) + script + byte(5) + byte(0));
  seed("checkpoint", "changed", byte(1) + script + byte(90) + byte(0) + byte(1));
}

void text_seeds() {
  seed("options", "sizes", "staging_bytes=64M\nwindow=4\nsmall_bytes=4k\nrank=0\nworld_size=1\n");
  seed("options", "edge",
       "staging_bytes=17179869183G\nstaging_bytes=18446744073709551615\nsmall_bytes=18014398509481983k\n");
  seed("options", "all",
       "group=g\ncoordinator=[::1]:4000\ntransport=tcp\njoin_timeout_s=1.5\nwait_timeout_s=1e3\nauto_rejoin=off\nno_"
       "commit=1\nsecret=s\n");
  seed("options", "failpoints",
       "failpoints=after_first_chunk#2=kill,map_segment=fail\nafter_prepared#1=stop,step#60=call\n");
  seed("options", "host", "127.0.0.1:80\n[::1]:4000\nhost:65535\n");
  seed("chaos_spec", "list",
       byte(4) + "kill:2@step:60, stop:1@step:120+3s,kill:3@failpoint:after_first_chunk#2,kill:coordinator@time:3s");
  seed("chaos_spec", "time", byte(1) + "stop:0@time:1.5m+250ms");
  seed("chaos_spec", "duration", byte(1) + "250ms");
  std::string lines = "# a history\n";
  for (int i = 0; i < static_cast<int>(sim::What::kCount); ++i) {
    sim::Record r;
    r.what = static_cast<sim::What>(i);
    r.time_ns = i, r.log = 7, r.epoch = 1, r.op = static_cast<OpId>(i / 2), r.decision = 5, r.mark = true;
    r.contributors = 3, r.divisor = 2, r.value = r.expected = {0x11, 9};
    lines += sim::to_json(r);
  }
  seed("history", "every-event", lines);
  seed("history", "flight",
       "{\"flight\":1,\"pid\":9}\n{\"time_ns\":5,\"event\":\"install\",\"op\":0,\"epoch\":1,\"arg\":0}\n{\"time_ns\":6,"
       "\"event\":\"ended\",\"code\":6}\n");
  seed("history", "pair",
       "{\"event\":\"submitted\",\"op\":1,\"life\":1}\n{\"event\":\"committed\",\"op\":1,\"epoch\":1,\"life\":1}\n{"
       "\"event\":\"failed\",\"op\":1,\"code\":3,\"life\":2}\n");
}

// Walks of the world of `core`: messages are carried more often than anything goes wrong. A step is two bytes.
// `moving`: others come, and some leave.
std::string walk(std::uint64_t number, unsigned kind, unsigned trouble, bool moving = false) {
  Rng rng(number);
  constexpr unsigned all = 64, round = all + 4, step = all + 32 + 4, up = all, down = all + 2, submit = all + 10,
                     prepare = all + 26, observe = all + 42, settle = all + 58, answer = all + 13;
  std::string script = byte(kind);
  for (const unsigned what : {round, round, round}) script += byte(what) + byte(0);
  for (int i = 0; i < 120; ++i) {
    constexpr unsigned usual[] = {round,  step,   step, up, down, 4,  submit, prepare, observe,
                                  settle, answer, 10,   26, 42,   58, 13,     0,       2};
    if (moving && i % 20 == 15) {
      script += byte(9) + byte(0) + byte(2);                                     // a new life of member 2
      for (unsigned life = 2; life < 8; ++life) script += byte(8) + byte(life);  // who is not connected, connects
    }
    if (moving && i == 70) script += byte(15 + 128) + byte(static_cast<unsigned>(rng.below(3)));
    const bool odd = rng.below(100) < trouble;
    script += byte(odd ? static_cast<unsigned>(rng.below(256)) : usual[rng.below(std::size(usual))]);
    script += byte(static_cast<unsigned>(rng.below(8)));
  }
  return script;
}

void core_seeds() {
  for (unsigned i = 0; i < 4; ++i) {
    seed("core", "honest-2-" + std::to_string(i), walk(10 + i, 2, 8 * i));
    seed("core", "honest-3-" + std::to_string(i), walk(20 + i, 4 + (i & 1) * 16, 8 * i));
    seed("core", "moving-" + std::to_string(i), walk(40 + i, 2 * (i % 3), 4 * i, true));
    seed("core", "forged-" + std::to_string(i), walk(30 + i, 1 + 2 * (i % 3), 10 + 5 * i));
  }
  seed("core", "detector", walk(5, 128, 50));
}

bool same(const fs::path& path, const std::string& content) {
  std::ifstream in(path, std::ios::binary);
  return in && std::string{std::istreambuf_iterator<char>(in), {}} == content;
}

}  // namespace

int main(int argc, char** argv) {
  const bool check = argc == 3 && std::strcmp(argv[1], "--check") == 0;
  if (argc != 2 && !check) return std::fprintf(stderr, "usage: fuzz_seeds [--check] FOLDER\n"), 2;
  const fs::path folder = argv[argc - 1];
  wire_seeds();
  control_seeds();
  state_seeds();
  text_seeds();
  core_seeds();
  int wrong = 0;
  for (const auto& [name, content] : seeds) {
    if (check) {
      if (!same(folder / name, content)) std::printf("%s is not what the encoders make\n", name.c_str()), ++wrong;
      continue;
    }
    fs::create_directories((folder / name).parent_path());
    std::ofstream(folder / name, std::ios::binary | std::ios::trunc) << content;
  }
  std::printf("%zu seeds, %d differ\n", seeds.size(), wrong);
  return wrong == 0 ? 0 : 1;
}
