-- Opens a file of the current directory with the language server, as a user of Neovim would, and fails if anything that
-- the user should see is missing. Uses only the client that is built into Neovim, since version 0.7.

local LIMIT = 20000 -- milliseconds

local function fail(message)
  io.stderr:write('neovim.lua: ' .. message .. '\n')
  vim.cmd('cquit 1')
end

local function wait_for(what, holds)
  if not vim.wait(LIMIT, holds, 10) then
    fail('no ' .. what .. ': ' .. vim.inspect(vim.diagnostic.get(0)))
  end
end

local function codes()
  return vim.tbl_map(function(diagnostic) return diagnostic.code end, vim.diagnostic.get(0))
end

local function request(method, params)
  local answers = vim.lsp.buf_request_sync(0, method, params, LIMIT)
  for _, answer in pairs(answers or {}) do
    if answer.error then fail(method .. ': ' .. vim.inspect(answer.error)) end
    return answer.result
  end
  fail('no answer to ' .. method)
end

local function set_lines(from, to, lines)
  vim.api.nvim_buf_set_lines(0, from, to, true, lines)
end

vim.cmd('edit jane.yaml')
local client = vim.lsp.start_client({
  name = 'crm-admission',
  cmd = { vim.env.CRM_ADMISSION_PROGRAM, 'lsp' },
  root_dir = vim.fn.getcwd(),
})
vim.lsp.buf_attach_client(0, client)

-- Diagnostics.
wait_for('diagnostic', function() return vim.deep_equal(codes(), { 'linkedin-profile/not-canonical' }) end)

-- The fix.
vim.api.nvim_win_set_cursor(0, { 7, 22 })
local params = vim.lsp.util.make_range_params()
params.context = { diagnostics = {}, only = { 'quickfix' } }
local actions = request('textDocument/codeAction', params)
if not actions[1] or not actions[1].isPreferred then fail('no fix: ' .. vim.inspect(actions)) end
vim.lsp.util.apply_workspace_edit(actions[1].edit, 'utf-16')
wait_for('end of the diagnostic', function() return #codes() == 0 end)

-- A reference to nothing, and the completion of a name.
set_lines(-1, -1, { '  companyRef:', '    name: ac' })
wait_for('diagnostic about the name', function() return vim.deep_equal(codes(), { 'company-exists/unresolved' }) end)
vim.api.nvim_win_set_cursor(0, { 9, 11 })
params = vim.lsp.util.make_position_params()
params.position.character = 12
local completion = request('textDocument/completion', params)
local words = vim.lsp.util.text_document_completion_list_to_complete_items(completion, 'ac')
if not words[1] or words[1].word ~= 'acme-corp' then fail('no completion: ' .. vim.inspect(completion)) end
vim.lsp.util.apply_text_edits({ completion.items[1].textEdit }, 0, 'utf-16')
wait_for('end of the diagnostic', function() return #codes() == 0 end)

-- The description of a field.
vim.api.nvim_win_set_cursor(0, { 8, 4 })
local hover = request('textDocument/hover', vim.lsp.util.make_position_params())
if not hover or not hover.contents.value:find('spec.companyRef', 1, true) then
  fail('no hover: ' .. vim.inspect(hover))
end

vim.cmd('write')
vim.lsp.stop_client(client)
wait_for('end of the server', function() return vim.lsp.client_is_stopped(client) end)
vim.cmd('qall!')
