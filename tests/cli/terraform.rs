//! Terraform, which runs the binary as its credentials helper and downloads a module from a registry that
//! requires the token, or gets the token from `exec`.

use std::fs;
use std::os::unix::fs::symlink;

use crate::servers::{Resource, module_registry};
use crate::world::{BINARY, Call, World, needs};

/// The host of the module registry. It needs a dot, and Terraform's configuration gives its URL.
const HOST: &str = "registry.example.test";

const PLAIN: &str = "credentials_helper \"astra\" {}";

/// A folder that needs the private module, and Terraform's own configuration with that helper.
fn set_up(world: &World, registry: &Resource, helper: &str) {
    let plugins = world.path(".terraform.d/plugins");
    fs::create_dir_all(&plugins).unwrap();
    symlink(BINARY, plugins.join("terraform-credentials-astra")).unwrap();
    let services = format!("services = {{ \"modules.v1\" = \"{}/v1/modules/\" }}", registry.url());
    world.write("terraformrc", format!("host \"{HOST}\" {{\n  {services}\n}}\n{helper}\n"));
    let module = format!("source = \"{HOST}/acme/demo/astra\"\n  version = \"1.0.0\"");
    let output = "output \"greeting\" {\n  value = module.demo.greeting\n}\n";
    fs::create_dir(world.path("work")).unwrap();
    world.write("work/main.tf", format!("module \"demo\" {{\n  {module}\n}}\n{output}"));
}

/// Terraform in that folder, started by the command `before`.
fn terraform<'a>(world: &'a World, before: &str, arguments: &str) -> Call<'a> {
    let folder = world.path("work");
    let line = format!("60 {before} terraform -chdir={} {arguments}", folder.display());
    let call = world.call_as("timeout", &line).env("TF_CLI_CONFIG_FILE", world.path("terraformrc"));
    call.env("CHECKPOINT_DISABLE", "1").env("TF_IN_AUTOMATION", "1")
}

/// `terraform init` without a downloaded module, for a registry that the helper knows.
fn init(world: &World) -> Call<'_> {
    let _ = fs::remove_dir_all(world.path("work/.terraform"));
    terraform(world, "", "init -no-color -input=false").env("ASTRA_CREDENTIAL_HOSTS", HOST)
}

/// The last token that was accepted.
fn served(registry: &Resource) -> Option<String> {
    let asked = registry.asked().into_iter().rev().filter(|asked| asked.status < 300);
    asked.into_iter().find_map(|asked| asked.token())
}

#[test]
fn init_apply_and_output_use_the_private_module() {
    needs!("terraform");
    let world = World::new();
    let registry = module_registry(&world.authority, &world.astra);
    set_up(&world, &registry, PLAIN);
    init(&world).run().quiet();
    terraform(&world, "", "apply -no-color -input=false -auto-approve").run().quiet();
    assert_eq!(terraform(&world, "", "output -raw greeting").run().quiet(), "hello");
    let tokens = registry.asked().into_iter().map(|asked| asked.token()).collect::<Vec<_>>();
    let token = world.astra.last_token();
    // Terraform downloads the archive without a token.
    assert_eq!(tokens, [token.clone(), token, None, None]);
    let module = "/v1/modules/acme/demo/astra";
    let expected = [
        format!("GET {module}/versions 200"),
        format!("GET {module}/1.0.0/download 204"),
        "HEAD /demo.zip 200".to_owned(),
        "GET /demo.zip 200".to_owned(),
    ];
    assert_eq!(registry.transcript(), expected);
    assert_eq!(world.astra.exchanges(), 1);
}

#[test]
fn a_host_may_be_an_argument_of_terraforms_helper() {
    needs!("terraform");
    let world = World::new();
    let registry = module_registry(&world.authority, &world.astra);
    let helper = format!("credentials_helper \"astra\" {{\n  args = [\"--host\", \"{HOST}\"]\n}}");
    set_up(&world, &registry, &helper);
    init(&world).without("ASTRA_CREDENTIAL_HOSTS").run().quiet();
    assert_eq!(served(&registry), world.astra.last_token());
    assert_eq!(world.astra.exchanges(), 1);
}

#[test]
fn a_revoked_token_is_replaced_after_logout() {
    needs!("terraform");
    let world = World::new();
    let registry = module_registry(&world.authority, &world.astra);
    set_up(&world, &registry, PLAIN);
    init(&world).run().quiet();
    world.astra.revoke_all();
    let refused = init(&world).run();
    assert!(refused.code() == 1 && refused.stderr().contains("401"), "{refused}");
    assert_eq!(registry.asked().pop().unwrap().status, 401);
    assert_eq!((world.cached("entry").len(), world.astra.exchanges()), (1, 1));
    let logout = terraform(&world, "", &format!("logout {HOST}"));
    logout.env("ASTRA_CREDENTIAL_HOSTS", HOST).run().quiet();
    assert_eq!(world.call("status").run().code(), 1, "a token is left");
    init(&world).run().quiet();
    assert_eq!(served(&registry), world.astra.last_token());
    assert_eq!(world.astra.exchanges(), 2);
}

#[test]
fn an_unknown_host_gets_no_token_and_cannot_forget_one() {
    needs!("terraform");
    let world = World::new();
    let registry = module_registry(&world.authority, &world.astra);
    set_up(&world, &registry, PLAIN);
    for hosts in ["", "example.test", "xregistry.example.test", "registry.example.test:8443"] {
        let done = init(&world).env("ASTRA_CREDENTIAL_HOSTS", hosts).run();
        assert!(done.code() == 1 && done.stderr().contains("401"), "{done}");
    }
    assert!(registry.asked().iter().all(|asked| (asked.status, asked.token()) == (401, None)));
    assert_eq!((registry.asked().len(), world.astra.exchanges()), (4, 0));
    let token = world.token();
    terraform(&world, "", &format!("logout {HOST}")).run().quiet();
    assert_eq!(world.token(), token);
    assert_eq!(world.astra.exchanges(), 1);
}

#[test]
fn a_rejected_account_sends_nothing() {
    needs!("terraform");
    let world = World::new();
    let registry = module_registry(&world.authority, &world.astra);
    set_up(&world, &registry, PLAIN);
    world.astra.set_secret("00000000-fake-4000-8000-rotated0000");
    // Terraform continues without a credential, and does not show the helper's error.
    let done = init(&world).run();
    assert!(done.code() == 1 && done.stderr().contains("401"), "{done}");
    assert!(!done.stderr().contains("rejected"), "{done}");
    assert!(registry.asked().iter().all(|asked| (asked.status, asked.token()) == (401, None)));
    assert_eq!((registry.asked().len(), world.astra.exchanges()), (1, 1));
}

#[test]
fn exec_gives_terraform_the_variable_that_its_provider_reads() {
    needs!("terraform");
    let world = World::new();
    fs::create_dir(world.path("work")).unwrap();
    world.write("terraformrc", "");
    // A built-in resource shows the variables that a provider would see.
    let command = "printenv ASTRA_API_TOKEN > ../seen";
    let resource = format!(
        "resource \"terraform_data\" \"seen\" {{\n  provisioner \"local-exec\" {{\n    \
         command = \"{command}\"\n  }}\n}}\n"
    );
    world.write("work/main.tf", resource);
    terraform(&world, "", "init -input=false").run().quiet();
    let exec = format!("{} exec --min-valid 1h --", world.link("astra-credential").display());
    let apply = "apply -no-color -input=false -auto-approve";
    terraform(&world, &exec, apply).run().quiet();
    let seen = fs::read_to_string(world.path("seen")).unwrap();
    assert_eq!(Some(seen.trim_end().to_owned()), world.astra.last_token());
    assert_eq!(world.astra.exchanges(), 1);
    let state = fs::read_to_string(world.path("work/terraform.tfstate")).unwrap();
    assert!(!state.contains(seen.trim_end()), "the token went into the state");
    let failed = terraform(&world, &exec, "validate -no-such-option").run();
    assert_eq!(failed.code(), 1, "{failed}");
}
