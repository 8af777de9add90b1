// regroup plan: prints what the runtime would do for one collective, and how long it should take by the cost model.
// Nothing is run and no group is needed.
#include "runtime/algo/plan.h"

#include <CLI/CLI.hpp>
#include <cctype>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "runtime/algo/choice.h"
#include "tools/regroup/commands.h"

namespace regroup::tools {
namespace {

struct Arguments {
  std::string op = "all_reduce", bytes = "64M", type = "float", transport = "shm", plan = "auto", order = "any";
  std::size_t members = 4, member = 0, root = 0;
  std::vector<std::uint32_t> hosts;  // members on each
  bool registered = false;
  std::vector<std::string> machine;
};

// "64M", "4K", "100": bytes, by powers of 1024.
bool parse_bytes(const std::string& text, std::size_t& bytes) {
  std::size_t digits = 0;
  bytes = 0;
  while (digits < text.size() && std::isdigit(static_cast<unsigned char>(text[digits])) != 0) {
    if (bytes > (std::size_t{1} << 40)) return false;
    bytes = bytes * 10 + static_cast<std::size_t>(text[digits++] - '0');
  }
  const std::string unit = text.substr(digits);
  const int shift = unit.empty() ? 0 : unit == "K" ? 10 : unit == "M" ? 20 : unit == "G" ? 30 : -1;
  if (digits == 0 || shift < 0 || bytes > (std::size_t{1} << 40 >> shift)) return false;
  bytes <<= shift;
  return true;
}

int fail(const std::string& why) {
  std::fprintf(stderr, "regroup plan: %s\n", why.c_str());
  return 2;
}

void print_head(const Arguments& a, const algo::Request& request, const char* plan) {
  std::printf("%s of %zu %s a block, %zu members over %s: plan %s\n", a.op.c_str(), request.desc.count, a.type.c_str(),
              a.members, a.transport.c_str(), plan);
  std::printf("member %zu%s:\n", a.member, request.desc.rooted() && a.member == a.root ? " (root)" : "");
}

void print_tail(const algo::Plan& plan, const algo::Estimate& e) {
  std::printf("commit when everybody is prepared, then copy out %zu bytes\n", plan.output_bytes);
  std::printf("predicted: %.1f us (%zu bytes moved in memory, %zu sent, %d hand-offs)\n", e.us, e.moved, e.sent, e.hops);
}

constexpr const char* kSmallText = "publish the input beside the descriptor, make the whole output from all\n";

int print_shared(const Arguments& a, const algo::Request& request, const algo::Plan& plan, const algo::Rules& rules) {
  const algo::Estimate e =
      algo::estimate(plan, request.desc, a.member, algo::Medium::kShared, rules.machine, !a.registered);
  print_head(a, request, e.plan);
  std::printf("%s", std::string(e.plan) == "small" ? kSmallText : algo::to_text(plan).c_str());
  print_tail(plan, e);
  return 0;
}

// What a member of a hierarchical plan does besides the route that its leader may have.
void print_host(const Arguments& a, const algo::Request& request) {
  std::size_t first = 0, host = 0;
  while (a.member >= first + a.hosts[host]) first += a.hosts[host++];
  std::printf("  host %zu, members %zu to %zu: fold through shared memory\n", host, first, first + a.hosts[host] - 1);
  std::printf(a.member == (*request.leaders)[host] ? "  as its leader: carry the sum across, place the result for the host\n"
                                                   : "  take the result of member %u from shared memory\n",
              (*request.leaders)[host]);
}

int print_network(const Arguments& a, const algo::Request& request, const algo::Plan& plan, const algo::Rules& rules) {
  const algo::Form form = algo::choose(request.desc, plan, a.members, rules);
  const bool passes_on = algo::passes_prepared_on(a.members, rules);
  print_head(a, request, algo::name_of(form));
  if (form == algo::Form::kHierarchical) print_host(a, request);
  if (algo::routed(form)) {
    algo::Route route;
    algo::make_route(request, plan, form, route);
    std::printf("%s", algo::to_text(route).c_str());
  } else {
    std::printf("%s", form == algo::Form::kSmall ? kSmallText : algo::to_text(plan).c_str());
  }
  if (passes_on) std::printf("`prepared` is passed on, to the members 1, 2, 4, ... places on\n");
  if (!algo::has_form(algo::Form::kRing, request.desc) && !algo::has_form(algo::Form::kGather, request.desc)) {
    print_tail(plan, algo::estimate(plan, request.desc, a.member, algo::Medium::kNetwork, rules.machine, false));
    return 0;
  }
  const auto predict = [&](algo::Form f) {
    return f == algo::Form::kHierarchical
               ? algo::predict_hierarchical(request.desc, plan, rules.hosts, rules.machine, passes_on)
               : algo::predict(f, request.desc, plan, a.members, rules.machine, passes_on);
  };
  print_tail(plan, predict(form));
  for (int i = 0; i < algo::kFormCount; ++i) {
    const auto other = static_cast<algo::Form>(i);
    if (other == form || !algo::can_take(other, request.desc, plan, a.members, rules)) continue;
    const algo::Estimate e = predict(other);
    std::printf("  %s would take %.1f us (%zu sent, %d hand-offs, %zu frames)\n", e.plan, e.us, e.sent, e.hops, e.frames);
  }
  return 0;
}

int run(const Arguments& a) {
  algo::Request request;
  int kind = 0, type = 0;
  while (kind < kOpKindCount && a.op != name_of(static_cast<OpKind>(kind))) ++kind;
  while (type < kDataTypeCount && a.type != name_of(static_cast<DataType>(type))) ++type;
  if (kind == kOpKindCount) return fail("unknown op '" + a.op + "'");
  if (type == kDataTypeCount) return fail("unknown type '" + a.type + "'");
  request.desc.kind = static_cast<OpKind>(kind);
  request.desc.type = static_cast<DataType>(type);
  if (!algo::fits(request.desc, nullptr, a.members))
    return fail(a.op + " needs tables; ask for the form with equal blocks");
  std::size_t bytes = 0;
  if (!parse_bytes(a.bytes, bytes)) return fail("'" + a.bytes + "' is no size");
  if (a.members == 0 || a.members > 1024) return fail("members: 1 to 1024");
  if (a.member >= a.members || a.root >= a.members) return fail("member and root are indices below members");
  if (a.transport != "shm" && a.transport != "tcp") return fail("transport: shm or tcp");
  const bool shared = a.transport == "shm";
  algo::Rules rules;
  for (const std::string& figure : a.machine)
    if (Status s = rules.machine.parse(figure); !s) return fail(s.error().detail);
  if (a.order != "any" && a.order != "canonical") return fail("order: any or canonical");
  rules.canonical = a.order == "canonical";
  rules.small_bytes = rules.machine.small_bytes;
  rules.form = algo::form_named(a.plan);
  if (!rules.form && a.plan != "auto") return fail("unknown plan '" + a.plan + "'");
  request.desc.count = bytes / size_of(request.desc.type);
  request.members = a.members;
  request.self = a.member;
  request.root = a.root;
  request.spread = algo::spread_for(a.members, shared);
  std::uint64_t placed = 0;
  for (std::uint32_t host = 0; host < a.hosts.size(); ++host) {
    if (a.hosts[host] == 0 || a.hosts[host] > a.members) return fail("hosts: members on each, at least one");
    placed += a.hosts[host];
    rules.hosts.insert(rules.hosts.end(), a.hosts[host], host);
  }
  if (!a.hosts.empty() && (placed != a.members || a.hosts.size() < 2 || a.hosts.size() == a.members || shared))
    return fail("hosts: at least two, all members, some of them together, over tcp");
  const std::vector<std::uint32_t> leaders = algo::leaders_of(rules.hosts);
  request.leaders = &leaders;
  algo::Plan plan;
  algo::make_plan(request, plan);
  return shared ? print_shared(a, request, plan, rules) : print_network(a, request, plan, rules);
}

}  // namespace

void add_plan(CLI::App& app, int& status) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("plan", "Print the plan of a collective and its predicted time");
  command->add_option(
      "--op", arguments->op,
      "all_reduce, reduce, broadcast, all_gather, reduce_scatter, all_to_all, gather, scatter, barrier");
  command->add_option("--bytes", arguments->bytes, "Of one member's block: 4, 64K, 64M, 1G");
  command->add_option("--type", arguments->type, "Element type: float, double, half, ...");
  command->add_option("--members", arguments->members, "Members of the view");
  command->add_option("--member", arguments->member, "Whose plan: its index");
  command->add_option("--root", arguments->root, "Index of the root");
  command->add_option("--transport", arguments->transport, "shm or tcp");
  command->add_flag("--registered", arguments->registered, "Buffers are registered memory");
  command->add_option("--plan", arguments->plan, "Over tcp: auto, direct, small, ring, doubling, gather, hierarchical");
  command->add_option("--hosts", arguments->hosts, "Members on each host, e.g. 2,2: some share memory, not all")->delimiter(',');
  command->add_option("--order", arguments->order, "any, or canonical: only plans that fold in member order");
  command->add_option("--machine", arguments->machine, "Figures of the machine, NAME=NUMBER: " + algo::Machine{}.text());
  command->callback([arguments, &status] { status = run(*arguments); });
}

}  // namespace regroup::tools
