// The opening of a connection (transport/wire/auth.h): a client and a server, with or without secrets, hear one
// another's messages (also late, again, shortened, with one byte changed) and whatever else the bytes say. Held:
// whoever has a secret is never content with who does not know it, however much it has overheard; a failure is final;
// answers are bounded.
#include "transport/wire/auth.h"

#include <vector>

#include "tests/fuzz/source.h"

using namespace regroup;

namespace {

using Bytes = std::vector<std::byte>;

struct Talk {
  explicit Talk(fuzz::Source& source) {
    const std::uint8_t kind = source.u8();
    const std::string secrets[] = {"", "a secret", "another secret"};
    client_secret = secrets[kind % 3];
    server_secret = secrets[kind / 3 % 3];
    const std::string asked = (kind & 64) != 0 ? "" : (kind & 128) != 0 ? "other" : "group";
    same_group = asked == "group" || (asked.empty() && any_group);
    client.emplace(asked, client_secret, wire::Nonce{std::byte{1}});
    server.emplace("group", server_secret, wire::Nonce{std::byte{2}}, any_group);
    said.push_back(client->open());
  }
  static constexpr bool any_group = true;
  std::string client_secret, server_secret;
  bool same_group = false;
  std::optional<wire::AuthClient> client;
  std::optional<wire::AuthServer> server;
  std::vector<Bytes> said;  // by either of the two
};

template <class Side>
void hear(Side& side, std::span<const std::byte> message, bool& failed, std::vector<Bytes>& said) {
  const bool done = side.done();
  const wire::AuthStep step = side.on(message);
  RG_CHECK(step.reply.size() <= wire::kMaxAuthBytes);
  RG_CHECK(!failed || !side.done());     // a failure is final
  RG_CHECK(!done || !step.status.ok());  // nothing is to be said any more
  if (!step.status.ok()) failed = true;
  if (!step.reply.empty()) said.push_back(step.reply);
}

}  // namespace

FUZZ_TARGET(auth) {
  fuzz::Source source(in);
  Talk talk(source);
  bool client_failed = false, server_failed = false;
  for (int steps = 0; !source.done() && steps < 64; ++steps) {
    const std::uint8_t how = source.u8();
    Bytes message;
    if ((how & 2) != 0) {  // what was said
      message = talk.said[source.u8() % talk.said.size()];
      if ((how & 4) != 0) message.resize(source.u8() % (message.size() + 1));
      if ((how & 8) != 0 && !message.empty())
        message[source.u8() % message.size()] ^= static_cast<std::byte>(source.u8());
    } else {
      const auto bytes = fuzz::bytes_of(source.take(source.u8()));
      message.assign(bytes.begin(), bytes.end());
    }
    if ((how & 1) != 0)
      hear(*talk.client, message, client_failed, talk.said);
    else
      hear(*talk.server, message, server_failed, talk.said);
    const bool same_secret = talk.client_secret == talk.server_secret;
    if (!talk.server_secret.empty()) RG_CHECK(!talk.server->done() || server_failed || same_secret);
    if (!talk.client_secret.empty())
      RG_CHECK(!talk.client->done() || client_failed || (same_secret && talk.same_group));
  }
}
