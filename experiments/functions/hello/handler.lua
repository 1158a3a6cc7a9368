-- hello in Lua. The device is opened twice because a C stream must be repositioned between reading and
-- writing, and a device has no positions.
package.path = arg[0]:gsub("[^/]*/[^/]*$", "") .. "lib/?.lua;" .. package.path
local json = require("stasis_json")

local path = os.getenv("STASIS_DEVICE") or "/dev/stasis"
local requests, responses = assert(io.open(path, "r")), assert(io.open(path, "w"))
for line in requests:lines() do
  local request = json.decode(line)
  if type(request) == "table" and type(request.name) == "string" and #request.name <= 64 then
    responses:write('{"text":', json.quote("Hello, " .. request.name .. "!"), "}\n")
  else
    responses:write('{"error":"name: a string is wanted"}\n')
  end
  responses:flush()
end
