"""The transforms of a recipe together: none may undo what another did before it."""

from quantguard import transforms
from quantguard.errors import RecipeError
from quantguard.records import Recipe
from quantguard.transforms._transform import FOLDS_NORMS, Transform


def create_transforms(recipe: Recipe) -> dict[str, Transform]:
    """Return the transforms of a recipe by name, in order.

    Raises RecipeError where one is named twice, and where the scale of one would vanish in another.
    """
    names = recipe.transforms
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise RecipeError(f"recipe {recipe.name!r}: transforms has {twice!r} twice; name it once")
    found = {name: transforms.members[name].create(recipe, recipe.options.get(name, {})) for name in names}
    for index, later in enumerate(names):
        for earlier in names[:index]:
            if found[earlier].scales_norms and found[later].cancels_scales:
                raise RecipeError(_vanishes(recipe, found, earlier, later))
    return found


def _vanishes(recipe: Recipe, found: dict[str, Transform], earlier: str, later: str) -> str:
    one, other = found[earlier], found[later]
    both_rotate = one.cancels_scales == other.cancels_scales == FOLDS_NORMS
    if both_rotate or (other.scales_norms and one.cancels_scales):
        advice = "take one of the two"
    else:
        rest = [name for name in recipe.transforms if name != earlier]
        rest.insert(rest.index(later) + 1, earlier)
        order = ", ".join(f'"{name}"' for name in rest)
        advice = f"put it behind {later}: transforms = [{order}]"
    return (
        f"recipe {recipe.name!r}: the scale that {earlier} folds into the norms vanishes in {later}, which"
        f" {other.cancels_scales}; {advice}"
    )
